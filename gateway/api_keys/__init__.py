"""API keys: what programs come in with in place of their users."""
