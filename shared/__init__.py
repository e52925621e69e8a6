"""What gateway and worker agree on: jobs, keys, the queue, the token log, the database."""
