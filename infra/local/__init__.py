"""PostgreSQL and Valkey from wheels, a demo model, and the supervisor behind `./dev up`."""
