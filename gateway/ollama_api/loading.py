"""Loads and unloads a model: what Ollama's clients ask for by asking nothing of it."""

import re

from gateway.chat.inference import Inference
from gateway.chat.ollama_requests import OllamaGenerate
from gateway.ollama_api.request_fields import GeneratingRequest

_NOT_ZERO = re.compile(r"[1-9]")


def to_loading(asked: GeneratingRequest) -> Inference:
    """Return what has a model loaded and asks it nothing; with a `keep_alive` of 0, what has it unloaded."""
    return Inference(
        request=OllamaGenerate(
            model=asked.model,
            prompt="",
            stream=True,
            options=asked.options,
            keep_alive=0 if _is_zero(asked.keep_alive) else None,
        ),
        is_stream=asked.is_stream,
        num_predict=0,
    )


def unloads(inference: Inference) -> bool:
    """Tell whether a model is to be unloaded."""
    return isinstance(inference.request, OllamaGenerate) and inference.request.keep_alive == 0


def _is_zero(duration: str | float | None) -> bool:
    return not _NOT_ZERO.search(duration) if isinstance(duration, str) else duration == 0
