"""Ollama's protocol, for clients that know no other: the same jobs, told in its lines."""
