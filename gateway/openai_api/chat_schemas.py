"""The body of `POST /openai/v1/chat/completions`."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from gateway.chat.free_json import FREE_JSON
from gateway.chat.schemas import MOST_MESSAGES
from gateway.openai_api.message_schemas import ChatMessage
from gateway.openai_api.sampling import Sampling, TokenBound

FunctionName = Annotated[str, Meta(min_length=1, max_length=256)]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max", "ultra"]


class FunctionDeclaration(Struct, frozen=True, omit_defaults=True):
    """A function that the model may call."""

    name: FunctionName
    description: str | None = None
    parameters: Annotated[dict[str, Any], FREE_JSON] | None = None  # a JSON schema; null: it takes none


class Tool(Struct, frozen=True, omit_defaults=True):
    """A tool; functions are all there is."""

    type: Literal["function"]
    function: FunctionDeclaration


class NamedFunction(Struct, frozen=True):
    """A function by its name."""

    name: FunctionName


class NamedTool(Struct, frozen=True, tag_field="type", tag="function"):
    """A tool by its function's name."""

    function: NamedFunction


class AllowedTools(Struct, frozen=True):
    """Which tools may be called; whether one must be cannot be told to Ollama."""

    tools: Annotated[list[NamedTool], Meta(max_length=512)]


class AllowedToolsChoice(Struct, frozen=True, tag_field="type", tag="allowed_tools"):
    """A choice of some tools."""

    allowed_tools: AllowedTools


class TextFormat(Struct, frozen=True, tag_field="type", tag="text"):
    """The answer is text."""


class JsonObjectFormat(Struct, frozen=True, tag_field="type", tag="json_object"):
    """The answer is JSON."""


class JsonSchema(Struct, frozen=True):
    """A schema with its name, which is ignored."""

    schema: Annotated[dict[str, Any], FREE_JSON]


class JsonSchemaFormat(Struct, frozen=True, tag_field="type", tag="json_schema"):
    """The answer is JSON of this schema, whether `strict` or not."""

    json_schema: JsonSchema


class Reasoning(Struct, frozen=True):
    """How much the model is to think, as OpenRouter's and Ollama's clients write it."""

    effort: Effort | None = None


class ChatCompletionRequest(Sampling, frozen=True, kw_only=True):
    """The body of `POST /openai/v1/chat/completions`."""

    messages: Annotated[list[ChatMessage], Meta(min_length=1, max_length=MOST_MESSAGES)]
    max_completion_tokens: TokenBound | None = None  # goes before max_tokens
    tools: Annotated[list[Tool], Meta(max_length=512)] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | AllowedToolsChoice | None = None
    response_format: TextFormat | JsonObjectFormat | JsonSchemaFormat | None = None
    reasoning_effort: Effort | None = None
    reasoning: Reasoning | None = None  # goes before reasoning_effort
    modalities: list[str] | None = None  # text is all there is
    audio: Any = None  # refused, as are all below
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    functions: list[Any] | None = None
    function_call: Any = None
