"""What operators watch: figures for Prometheus."""
