"""What `./dev bench` runs: our figures beside those of no gateway at all and of nginx, taken in one run."""
