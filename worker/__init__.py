"""The GPU side: claims jobs, asks Ollama, writes the answer to the token log."""
