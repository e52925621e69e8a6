"""The HTTP side: authenticates, admits, enqueues, and relays what workers write."""
