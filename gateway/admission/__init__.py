"""Who may do how much: rate limits, their headers, and the bound of the queue."""
