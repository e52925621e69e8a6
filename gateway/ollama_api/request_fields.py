"""What Ollama's requests have in common. Unknown fields are ignored, as Ollama ignores them, and null is as absent."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from gateway.chat import schemas
from gateway.chat.free_json import FREE_JSON, free_json_fault
from gateway.chat.images import image_fault
from gateway.chat.ollama_requests import Think
from gateway.chat.schemas import Duration, Image, demand
from shared.model_names import ModelName

Images = Annotated[list[Image], Meta(max_length=32)]


class OllamaOptions(schemas.Options, frozen=True, forbid_unknown_fields=False):
    """Ollama's options that a tenant may set; all others, some of which steer the machine, have no effect."""


class GeneratingRequest(Struct, frozen=True, kw_only=True):
    """What the requests for text say, both of them."""

    model: ModelName
    stream: bool | None = None  # null: true
    options: OllamaOptions | None = None
    format: Literal["json", ""] | Annotated[dict[str, Any], FREE_JSON] | None = None  # empty: whatever the model says
    think: Think | None = None
    truncate: bool | None = None  # false: a prompt that does not fit the context is an error
    shift: bool | None = None  # false: an answer that does not fit the context is an error
    keep_alive: Duration | None = None  # 0, with nothing to answer, unloads the model; without effect otherwise
    logprobs: bool | None = None  # true is refused

    def __post_init__(self) -> None:
        if isinstance(self.format, dict):
            demand(free_json_fault(self.format), "format")
        demand("Expected false, since there are none here," if self.logprobs else None, "logprobs")

    @property
    def is_stream(self) -> bool:
        """Whether the answer is to come piece by piece."""
        return self.stream is not False

    @property
    def num_predict(self) -> int | None:
        """Most tokens of the answer; None: nothing is said."""
        return self.options.num_predict if self.options else None


def check_images(images: list[str] | None) -> None:
    """Have msgspec refuse what is no image."""
    for place, image in enumerate(images or ()):
        demand(image_fault(image), f"images[{place}]")
