"""What outlives Redis: jobs that were accepted, how jobs ended, and the answers of durable ones."""
