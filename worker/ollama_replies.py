"""From bytes to replies: cuts Ollama's NDJSON into lines and decodes each into what the worker needs of it.

Lines end at a newline and nowhere else: tokens may hold U+0085, U+2028 and form feeds. A line may be as long as it
likes and arrive in any pieces. Text that is not Unicode (lone surrogates, broken UTF-8) or not quite JSON (control
characters as they are, null for an absent field) is mended, not refused: it is a model's text, and the job must not
fail for it.
"""

import json
from typing import Any

import msgspec
from msgspec import Struct, field

from shared.errors import UpstreamError, UpstreamInterruptedError
from worker.ollama_faults import fault_in_stream

_NO_CALLS = (b"null", b"[]")
MOST = 2**31 - 1  # what PostgreSQL's integer holds; as tokens or milliseconds beyond anything that is true


_NOTHING = msgspec.Raw(b"")  # msgspec knows no `Raw | None`


class _Message(Struct, frozen=True):
    content: str = ""
    thinking: str = ""
    tool_calls: msgspec.Raw = _NOTHING


_NO_MESSAGE = _Message()


class Reply(Struct, frozen=True):
    """One line of an answer to `chat` or `generate`; counts in tokens, durations in nanoseconds, both in the last."""

    done: bool = False
    done_reason: str = ""
    prompt_eval_count: int = 0  # 0 also where Ollama had the whole prompt in its cache
    eval_count: int = 0
    total_duration: int = 0
    load_duration: int = 0
    prompt_eval_duration: int = 0
    eval_duration: int = 0
    error: Any = None  # usually text; whatever failed, nothing follows
    chat_message: _Message = field(name="message", default=_NO_MESSAGE)
    generate_content: str = field(name="response", default="")
    generate_thinking: str = field(name="thinking", default="")
    generate_tool_calls: msgspec.Raw = field(name="tool_calls", default=_NOTHING)

    @property
    def prompt_tokens(self) -> int:
        """The length of the prompt."""
        return bounded(self.prompt_eval_count)

    @property
    def completion_tokens(self) -> int:
        """The length of the answer."""
        return bounded(self.eval_count)

    @property
    def load_ms(self) -> int:
        """The time that loading the model took."""
        return bounded(self.load_duration // 1_000_000)

    @property
    def prompt_eval_ms(self) -> float:
        """The time that reading the prompt took."""
        return bounded(self.prompt_eval_duration // 1_000) / 1_000

    @property
    def eval_ms(self) -> float:
        """The time that answering took."""
        return bounded(self.eval_duration // 1_000) / 1_000

    @property
    def content(self) -> str:
        """The text."""
        return self.chat_message.content or self.generate_content

    @property
    def is_empty(self) -> bool:
        """Whether it says nothing, not even that it is the last."""
        return not (self.done or self.content or self.thinking or self.tool_calls)

    def with_content(self, content: str) -> "Reply":
        """Return a copy with another text."""
        message = msgspec.structs.replace(self.chat_message, content=content)
        return msgspec.structs.replace(self, chat_message=message, generate_content="")

    @property
    def thinking(self) -> str:
        """The text of thought."""
        return self.chat_message.thinking or self.generate_thinking

    @property
    def tool_calls(self) -> msgspec.Raw | None:
        """The tool calls as JSON, None where there are none."""
        raw = self.chat_message.tool_calls or self.generate_tool_calls
        return raw if raw and bytes(raw) not in _NO_CALLS else None


def bounded(count: int) -> int:
    """Return a number of Ollama's as one that can be counted with: a nonsense one must cost neither job nor ledger."""
    return min(max(count, 0), MOST)


_decoder = msgspec.json.Decoder(Reply)


class ReplyReader:
    """Takes the bytes of one answer as they come and gives the replies in them.

    `has_begun`: a reply was given. `is_done`: the last one was. `fault`: why the answer cannot go on.
    """

    def __init__(self) -> None:
        self.has_begun = False
        self.is_done = False
        self.fault: UpstreamError | None = None
        self._begun: list[bytes] = []  # pieces of the line whose end has not come; joined once

    @property
    def is_over(self) -> bool:
        """Whether there is nothing more to read."""
        return self.is_done or self.fault is not None

    def feed(self, data: bytes) -> list[Reply]:
        """Return the replies that are complete with `data`; up to the last one or the fault, if one of them is."""
        end = data.rfind(b"\n") + 1
        if not end:
            self._begun.append(data)
            return []
        lines = data
        if self._begun or end < len(data):
            lines = b"".join((*self._begun, data[:end]))
            self._begun = [data[end:]] if end < len(data) else []
        return self._decode(lines)

    def finish(self) -> list[Reply]:
        """Return what is left when nothing more is read: a last line without its newline. Too early is a fault."""
        if self.is_over:
            return []
        lines, self._begun = b"".join(self._begun), []
        replies = self._decode(lines)
        if not self.is_over:
            self.fault = UpstreamInterruptedError("Ollama ended the answer without finishing it.")
        return replies

    def _decode(self, lines: bytes) -> list[Reply]:
        if b"\\ud" in lines or b"\\uD" in lines:  # the escape of a surrogate, perhaps a lone one
            return self._checked(self._decode_one_by_one(lines))
        try:
            replies = _decoder.decode_lines(lines)
        except (ValueError, RecursionError):
            replies = self._decode_one_by_one(lines)
        return self._checked(replies)

    def _decode_one_by_one(self, lines: bytes) -> list[Reply]:
        replies: list[Reply] = []
        for line in lines.split(b"\n"):
            if not line.strip():
                continue
            try:
                replies.append(_decode_mended(line))
            except (ValueError, RecursionError):
                self.fault = UpstreamInterruptedError("Ollama sent a line that is not a reply.")
                break
        return replies

    def _checked(self, replies: list[Reply]) -> list[Reply]:
        for index, reply in enumerate(replies):
            if reply.error is not None:
                self.fault = fault_in_stream(reply.error)
                return replies[:index]
            if reply.done:
                self.has_begun = self.is_done = True
                self.fault = None
                return replies[: index + 1]
        self.has_begun = self.has_begun or bool(replies)
        return replies


def _decode_mended(line: bytes) -> Reply:
    value = _without_nulls(json.loads(line.decode("utf-8", "replace"), strict=False))
    text = json.dumps(value, ensure_ascii=False)
    return _decoder.decode(text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"))


def _without_nulls(value: Any) -> Any:  # noqa: ANN401  whatever JSON holds
    if not isinstance(value, dict):
        return value
    return {name: _without_nulls(member) for name, member in value.items() if member is not None}
