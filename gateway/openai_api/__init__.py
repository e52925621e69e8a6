"""OpenAI's protocol: what its clients send becomes Ollama's terms, and the events of jobs become its chunks."""
