"""What a client may ask of `POST /ollama/api/chat`, as Ollama's api/types.go has it."""

from typing import Annotated, Any

from msgspec import Meta, Struct, structs

from gateway.chat import schemas
from gateway.chat.free_json import FREE_JSON, free_json_fault
from gateway.chat.schemas import MOST_MESSAGES, Text, demand
from gateway.ollama_api.request_fields import GeneratingRequest, Images, check_images

Name = Annotated[str, Meta(max_length=256)]
Role = Annotated[str, Meta(max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9 ._-]*$(?!\n)", examples=["user"])]
"""Templates know others than the usual four, too: those of Granite `control` and `document 1`."""


class OllamaFunctionCall(schemas.FunctionCall, frozen=True, forbid_unknown_fields=False):
    """A call of a function that the model made earlier in the chat."""


class OllamaToolCall(schemas.ToolCall, frozen=True, forbid_unknown_fields=False):
    """A function call as Ollama wraps it."""

    function: OllamaFunctionCall


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
