"""Turns the messages of OpenAI's clients into Ollama's: one for one, in their order."""

from collections.abc import Iterator, Sequence

from msgspec import Raw, Struct

from gateway.chat.free_json import free_json_fault
from gateway.chat.images import image_fault
from gateway.openai_api.message_schemas import (
    AssistantMessage,
    CalledTool,
    ChatMessage,
    DeveloperMessage,
    ImagePart,
    Part,
    RefusalPart,
    SystemMessage,
    TextPart,
    ToolMessage,
    UserMessage,
)
from gateway.openai_api.sampling import refuse
from gateway.strict_json import mend_text, read_json
from shared.errors import InvalidRequestError

MOST_IMAGES = 32  # of a message, as on /v1

_BASE64 = ";base64,"


class OllamaFunction(Struct, frozen=True):
    """A function that was called, with its arguments in the very text that the client sent."""

    name: str
    arguments: Raw


class OllamaCall(Struct, frozen=True, omit_defaults=True):
    """A call as Ollama wraps it."""

    function: OllamaFunction
    id: str = ""


class OllamaMessage(Struct, frozen=True, omit_defaults=True):
    """A message of Ollama's `/api/chat`; what is empty is left out."""

    role: str
    content: str
    thinking: str = ""
    images: list[str] = []
    tool_calls: list[OllamaCall] = []
    tool_name: str = ""
    tool_call_id: str = ""


def to_ollama_messages(messages: Sequence[ChatMessage]) -> list[OllamaMessage]:
    """Return the messages for Ollama.

    Raises:
        InvalidRequestError: An image is none, arguments are no JSON object, or a tool answers what nobody asked.
        UnsupportedParameterError: There is what cannot be served, as an image somewhere else.

    """
    names: dict[str, str] = {}  # of the functions called so far, by the call's id
    return [_to_ollama(message, names, place) for place, message in enumerate(messages)]


def _to_ollama(message: ChatMessage, names: dict[str, str], place: int) -> OllamaMessage:
    content = message.content
    text, images = (content, []) if isinstance(content, str) else _split(content, f"messages[{place}].content")
    match message:
        case UserMessage():
            return OllamaMessage(role="user", content=text, images=images)
        case AssistantMessage():
            return _assistant(message, text, images, names, f"messages[{place}]")
        case ToolMessage():
            return OllamaMessage(
                role="tool",
                content=text,
                images=images,
                tool_name=_tool_name(message, names, f"messages[{place}]"),
                tool_call_id=message.tool_call_id or "",
            )
        case SystemMessage() | DeveloperMessage():
            return OllamaMessage(role="system", content=text, images=images)


def _assistant(
    message: AssistantMessage, text: str, images: list[str], names: dict[str, str], path: str
) -> OllamaMessage:
    refuse(f"{path}.function_call", "Functions are called by tool_calls here.", unless=message.function_call is None)
    if message.content is None and message.refusal is None and not message.tool_calls:
        raise InvalidRequestError("Expected content, or tool_calls.", param=f"{path}.content")
    calls = message.tool_calls or ()
    names.update((call.id, call.function.name) for call in calls if call.id)
    return OllamaMessage(
        role="assistant",
        content=text or message.refusal or "",
        thinking=message.reasoning or message.reasoning_content or "",
        images=images,
        tool_calls=[_call(call, f"{path}.tool_calls[{place}]") for place, call in enumerate(calls)],
    )


def _call(call: CalledTool, path: str) -> OllamaCall:
    return OllamaCall(OllamaFunction(call.function.name, _arguments(call, f"{path}.function.arguments")), call.id or "")


def _arguments(call: CalledTool, path: str) -> Raw:
    """Return the arguments as JSON: as they were written, since to read and write them would round their numbers."""
    text = mend_text(call.function.arguments.encode()) or b"{}"
    try:
        arguments = read_json(text)
    except InvalidRequestError:
        raise InvalidRequestError("Expected JSON (RFC 7493).", param=path) from None
    if not isinstance(arguments, dict):
        raise InvalidRequestError("Expected an object.", param=path)
    if fault := free_json_fault(arguments):
        raise InvalidRequestError(f"{fault}.", param=path)
    return Raw(text)


def _tool_name(message: ToolMessage, names: dict[str, str], path: str) -> str:
    name = message.name or names.get(message.tool_call_id or "")
    if not name:
        fault = "Expected the id of a call in an assistant's message before this one."
        raise InvalidRequestError(fault, param=f"{path}.tool_call_id")
    return name


def _split(content: Sequence[Part] | None, path: str) -> tuple[str, list[str]]:
    """Return the text of a message's parts, and its images in base64."""
    parts = content or ()
    images = [_image(part, f"{path}[{place}].image_url") for place, part in _images(parts)]
    if len(images) > MOST_IMAGES:
        raise InvalidRequestError(f"Expected at most {MOST_IMAGES} images.", param=path)
    return "\n".join(_texts(parts)), images


def _texts(parts: Sequence[Part]) -> Iterator[str]:
    for part in parts:
        match part:
            case TextPart(text) | RefusalPart(text):
                yield text
            case _:
                pass


def _images(parts: Sequence[Part]) -> Iterator[tuple[int, ImagePart]]:
    return ((place, part) for place, part in enumerate(parts) if isinstance(part, ImagePart))


def _image(part: ImagePart, path: str) -> str:
    url = part.image_url if isinstance(part.image_url, str) else part.image_url.url
    is_remote = url[:8].lower().startswith(("http://", "https://"))
    refuse(path, "Images are not fetched: send it as a data: URL, in base64.", unless=not is_remote)
    kind, separator, image = url.partition(_BASE64)
    fault = image_fault(image) if kind.lower().startswith("data:") and separator else "Expected a data: URL, in base64"
    if fault:
        raise InvalidRequestError(f"{fault}.", param=path)
    return image
