"""Names of models, as Ollama has them: `llama3.2:3b`, `hf.co/somebody/model:latest`, or without the tag."""

from typing import Annotated

from msgspec import Meta

ModelName = Annotated[str, Meta(min_length=1, max_length=256, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$(?!\n)")]

_REGISTRY = "registry.ollama.ai/"
_OFFICIAL = "library/"


def whole_name(name: str) -> str:
    """Return the name by which Ollama lists the model: with a tag, be it `latest`, and without what it adds itself.

    `registry.ollama.ai/library/qwen3` is `qwen3:latest`, `registry.ollama.ai/ada/tiny:q4` is `ada/tiny:q4`.
    """
    short = name.removeprefix(_REGISTRY)
    if short.count("/") == 1:
        short = short.removeprefix(_OFFICIAL)
    return short if ":" in short.rpartition("/")[2] else f"{short}:latest"
