"""What a client may ask of `POST /ollama/api/chat`, as Ollama's api/types.go has it."""

from typing import Annotated, Any

from msgspec import Meta, Struct, structs

from gateway.chat.free_json import FREE_JSON, free_json_fault
from gateway.chat.schemas import MOST_MESSAGES, Text, demand
from gateway.ollama_api.request_fields import GeneratingRequest, Images, check_images

Name = Annotated[str, Meta(max_length=256)]
Role = Annotated[str, Meta(max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9 ._-]*$(?!\n)", examples=["user"])]
"""Templates know others than the usual four, too: those of Granite `control` and `document 1`."""


class OllamaFunctionCall(Struct, frozen=True, omit_defaults=True):
    """A call of a function that the model made earlier in the chat."""

    name: Annotated[str, Meta(min_length=1, max_length=256)]
    arguments: Annotated[dict[str, Any], FREE_JSON] | None = None  # null: there are none
    index: Annotated[int, Meta(ge=0, le=1 << 31)] | None = None

    def __post_init__(self) -> None:
        structs.force_setattr(self, "arguments", self.arguments or {})
        demand(free_json_fault(self.arguments), "arguments")


class OllamaToolCall(Struct, frozen=True, omit_defaults=True):
    """A function call as Ollama wraps it."""

    function: OllamaFunctionCall
    id: Name | None = None


class OllamaChatMessage(Struct, frozen=True, omit_defaults=True):
    """One message of a chat."""

    role: Role
    content: Text | None = None
    thinking: Text | None = None
    images: Images | None = None
    tool_calls: Annotated[list[OllamaToolCall], Meta(max_length=128)] | None = None
    tool_name: Name | None = None
    tool_call_id: Name | None = None

    def __post_init__(self) -> None:
        structs.force_setattr(self, "role", self.role.lower())  # as Ollama does
        check_images(self.images)


class OllamaChatRequest(GeneratingRequest, frozen=True, kw_only=True):
    """The body of `POST /ollama/api/chat`; without messages it loads the model."""

    messages: Annotated[list[OllamaChatMessage], Meta(max_length=MOST_MESSAGES)] | None = None
    tools: Annotated[list[dict[str, Any]], Meta(max_length=512), FREE_JSON] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tools:
            demand(free_json_fault(self.tools), "tools")
