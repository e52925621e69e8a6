"""What a client may ask of `POST /ollama/api/generate`, as Ollama's api/types.go has it."""

from typing import Annotated

from msgspec import Meta

from gateway.chat.schemas import Text, demand
from gateway.ollama_api.request_fields import GeneratingRequest, Images, check_images

Token = Annotated[int, Meta(ge=0, le=1 << 31)]


class OllamaGenerateRequest(GeneratingRequest, frozen=True, kw_only=True):
    """The body of `POST /ollama/api/generate`; without a prompt it loads the model."""

    prompt: Text | None = None
    suffix: Text | None = None  # what comes after the answer
    system: Text | None = None
    template: Text | None = None
    raw: bool | None = None  # the prompt is for the model as it is
    context: Annotated[list[Token], Meta(max_length=32_768)] | None = None  # deprecated by Ollama
    images: Images | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_images(self.images)
        if self.raw and (self.template or self.system or self.context):
            demand("Expected nothing of `template`, `system` and `context` beside it", "raw")
