"""The messages of a chat, as OpenAI's clients send them."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from gateway.chat.schemas import Text

CallId = Annotated[str, Meta(max_length=256)]


class TextPart(Struct, frozen=True, tag_field="type", tag="text"):
    """A piece of text."""

    text: Text


class RefusalPart(Struct, frozen=True, tag_field="type", tag="refusal"):
    """What a model said instead of an answer."""

    refusal: Text


class ImageUrl(Struct, frozen=True):
    """Where an image is: in a `data:` URL, since nothing is fetched from elsewhere."""

    url: str


class ImagePart(Struct, frozen=True, tag_field="type", tag="image_url"):
    """An image."""

    image_url: ImageUrl | str


Part = TextPart | RefusalPart | ImagePart
Content = Text | Annotated[list[Part], Meta(max_length=1024)]


class CalledFunction(Struct, frozen=True):
    """A function that the model called earlier in the chat."""

    name: Annotated[str, Meta(min_length=1, max_length=256)]
    arguments: Text  # JSON, an object


class CalledTool(Struct, frozen=True):
    """A call of the model's earlier in the chat."""

    function: CalledFunction
    id: CallId | None = None
    type: Literal["function"] = "function"


class SystemMessage(Struct, frozen=True, tag_field="role", tag="system"):
    """An instruction."""

    content: Content


class DeveloperMessage(Struct, frozen=True, tag_field="role", tag="developer"):
    """An instruction, as newer clients name it."""

    content: Content


class UserMessage(Struct, frozen=True, tag_field="role", tag="user"):
    """What the user said."""

    content: Content


class AssistantMessage(Struct, frozen=True, tag_field="role", tag="assistant"):
    """What the model said, called or refused."""

    content: Content | None = None
    refusal: Text | None = None
    reasoning: Text | None = None  # what it thought
    reasoning_content: Text | None = None  # the same, as other clients write it
    tool_calls: Annotated[list[CalledTool], Meta(max_length=128)] | None = None
    function_call: Any = None  # refused


class ToolMessage(Struct, frozen=True, tag_field="role", tag="tool"):
    """What a tool answered."""

    content: Content | None = None
    tool_call_id: CallId | None = None
    name: Annotated[str, Meta(max_length=256)] | None = None  # of the tool; else it is known by the call's id


ChatMessage = SystemMessage | DeveloperMessage | UserMessage | AssistantMessage | ToolMessage
