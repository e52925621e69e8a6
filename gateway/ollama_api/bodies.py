"""Reads bodies as generously as Ollama does."""

from typing import Any, TypeVar

from gateway.request_body import JsonBody

Body = TypeVar("Body")


def body_of(kind: type[Body]) -> JsonBody[Body]:
    """Return what reads a kind of request of Ollama's clients."""
    return JsonBody(kind, may_carry_images=True, any_content_type=True, mends_text=True, prepare=with_whole_numbers)


def with_whole_numbers(body: Any) -> Any:  # noqa: ANN401  any JSON
    """Return a body whose options have whole numbers as such: languages with one kind of number write `4096.0`."""
    options = body.get("options") if isinstance(body, dict) else None
    if isinstance(options, dict):
        for name, value in options.items():
            if isinstance(value, float) and value.is_integer():
                options[name] = int(value)
    return body
