"""Names of models, as Ollama has them: `llama3.2:3b`, `hf.co/somebody/model:latest`, or without the tag."""

from typing import Annotated

from msgspec import Meta

ModelName = Annotated[str, Meta(min_length=1, max_length=256, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$(?!\n)")]


def tagged(name: str) -> str:
    """Return the whole name of the model: without a tag, `latest` is meant."""
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"
