"""The surfaces by which a model is asked: how a question is put to each of them, and how what comes back is read.

The readings are stricter than clients are: what a protocol does not allow is kept as a fault.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import httpx
import msgspec
from msgspec import Struct

from tests.openai_stream import END, read_stream

Body = dict[str, Any]

_ERROR_FIELDS = {"code", "type", "message", "param", "request_id"}


class Fault(Struct, frozen=True):
    """An error as a surface tells it."""

    message: str
    code: str | None  # None: the protocol has none


class Reading(ABC):
    """A streamed answer, as far as it has come."""

    def __init__(self) -> None:
        self.frames: list[Any] = []  # every piece of JSON
        self.comments: list[str] = []
        self.text = ""
        self.is_complete = False  # whether the protocol's own end of a whole answer has come
        self.error: Fault | None = None
        self.faults: list[str] = []
        self._line = b""

    @property
    def has_ended(self) -> bool:
        """Whether its end has come, in whichever way."""
        return self.is_complete or self.error is not None

    @property
    def id(self) -> str | None:
        """By which its client knows it; None: no frame has one."""
        return None

    @property
    def completion_tokens(self) -> int | None:
        """How many tokens it has, as it says; None: it has not said."""
        return None

    def feed(self, data: bytes) -> None:
        """Take more bytes."""
        *lines, self._line = (self._line + data).split(b"\n")
        for line in lines:
            if line and self.has_ended:
                self.faults.append(f"after the end: {line!r}")
            self._take(line.decode())

    def close(self) -> None:
        """Say that the stream has ended in order."""
        if self._line:
            self.faults.append(f"it ends inside a line: {self._line!r}")
        if not self.has_ended:
            self.faults.append("it ends without its end, as if that were success")

    @abstractmethod
    def _take(self, line: str) -> None:
        """Take a line."""

    def _expect(self, is_so: bool, what: str) -> None:  # noqa: FBT001  it reads as an assertion
        if not is_so:
            self.faults.append(what)


class OpenAIReading(Reading):
    """`chat.completion.chunk`s; at their end tests/openai_stream.py judges them all."""

    def __init__(self) -> None:
        super().__init__()
        self.finish_reason: str | None = None
        self._raw = b""
        self._usage: Body | None = None

    @property
    def id(self) -> str | None:
        """Of the completion."""
        return self.frames[0].get("id") if self.frames else None

    @property
    def completion_tokens(self) -> int | None:
        """As the chunk of its usage says."""
        return None if self._usage is None else self._usage["completion_tokens"]

    def feed(self, data: bytes) -> None:
        """Take more bytes."""
        self._raw += data
        super().feed(data)

    def close(self) -> None:
        """Say that the stream has ended in order."""
        super().close()
        try:
            read_stream(self._raw)
        except AssertionError as fault:
            self.faults.append(str(fault))

    def _take(self, line: str) -> None:
        if line.startswith(":"):
            self.comments.append(line.removeprefix(":").strip())
        elif line == f"data: {END}":
            self.is_complete = True
        elif line:
            self._take_frame(msgspec.json.decode(line.removeprefix("data: ")))

    def _take_frame(self, frame: Any) -> None:  # noqa: ANN401  whatever it holds
        self.frames.append(frame)
        if "error" in frame:
            self.error = _shaped_error(frame, self.faults)
            return
        for choice in frame["choices"]:
            self.text += self._text_of(choice)
            self.finish_reason = choice["finish_reason"]
        self._usage = frame.get("usage")

    def _text_of(self, choice: Body) -> str:
        return choice["delta"].get("content") or ""


class CompletionReading(OpenAIReading):
    """`text_completion`s."""

    def _text_of(self, choice: Body) -> str:
        return choice["text"]


class OllamaReading(Reading):
    """Lines of JSON."""

    def __init__(self) -> None:
        super().__init__()
        self.done_reason: str | None = None

    @property
    def completion_tokens(self) -> int | None:
        """As the last line says."""
        return self.frames[-1]["eval_count"] if self.is_complete else None

    def _take(self, line: str) -> None:
        frame = msgspec.json.decode(line)
        self.frames.append(frame)
        if "error" in frame:
            self.error = Fault(frame["error"], None)
            self._expect(frame.keys() == {"error"}, f"more than an error: {frame}")
            return
        self._expect({"model", "created_at", "done"} <= frame.keys(), f"fields are missing: {frame}")
        self.text += self._text_of(frame)
        self.is_complete = frame["done"]
        self.done_reason = frame.get("done_reason")
        self._expect(self.is_complete == bool(self.done_reason), f"done, and its reason, come together: {frame}")

    def _text_of(self, frame: Body) -> str:
        self._expect(frame["message"]["role"] == "assistant", f"of whom is this: {frame}")
        return frame["message"]["content"]


class GeneratingReading(OllamaReading):
    """Lines of JSON, of an answer to a prompt."""

    def _text_of(self, frame: Body) -> str:
        return frame["response"]


class NativeReading(Reading):
    """Our own events."""

    def __init__(self) -> None:
        super().__init__()
        self.modes: list[str] = []  # of its takeovers
        self._event = ""
        self._done: Body = {}

    @property
    def completion_tokens(self) -> int | None:
        """As the last event says."""
        return self._done["usage"]["completion_tokens"] if self._done else None

    def _take(self, line: str) -> None:
        name, _, value = line.partition(": ")
        match name:
            case "":
                self.comments += [value] if value else []
            case "event":
                self._event = value
            case "data":
                self._take_event(msgspec.json.decode(value))
            case _:
                self._expect(name in ("id", "retry"), f"no field of ours: {line}")

    def _take_event(self, data: Body) -> None:
        self.frames.append(data)
        match self._event:
            case "error":
                self.error = _shaped_error(data, self.faults)
            case "resumed":
                self.modes.append(data["mode"])
                self.text = "" if data["mode"] == "restarted" else self.text
            case "chunk":
                self.text += data["content"]
                self.is_complete = data["done"]
                self._done = data if data["done"] else {}
            case _:
                pass


class Surface(ABC):
    """One way to ask a model."""

    name: ClassVar[str]
    path: ClassVar[str]
    whole_path: ClassVar[str | None] = None  # of an answer in one piece; None: the same
    reading: ClassVar[type[Reading]]

    def __str__(self) -> str:
        """Its name."""
        return self.name

    def body(self, model: str, question: str, *, is_stream: bool = True, **fields: object) -> Body:
        """Return what to send; further fields as the protocol has them."""
        return {"model": model, **self._question(question), "stream": is_stream, **fields}

    @abstractmethod
    def text_of(self, whole: Any) -> str:  # noqa: ANN401  the body of a response
        """Return what the model says in an answer in one piece."""

    def fault_of(self, response: httpx.Response) -> Fault:
        """Return what a response with an error says, whose form must be right."""
        faults: list[str] = []
        fault = _shaped_error(response.json(), faults)
        assert not faults, faults
        own_id = response.json()["error"]["request_id"] == response.headers["X-Request-Id"]
        assert own_id or "Idempotent-Replayed" in response.headers
        return fault

    def _question(self, question: str) -> Body:
        return {"messages": [{"role": "user", "content": question}]}


class _Native(Surface):
    name = "native"
    path, whole_path = "/v1/chat/stream", "/v1/chat"
    reading = NativeReading

    def body(self, model: str, question: str, *, is_stream: bool = True, **fields: object) -> Body:
        del is_stream  # the path says it
        return {"model": model, **self._question(question), **fields}

    def text_of(self, whole: Any) -> str:  # noqa: ANN401  the body of a response
        return "".join(chunk["content"] for chunk in whole)


class _OpenAI(Surface):
    name = "openai"
    path = "/openai/v1/chat/completions"
    reading = OpenAIReading

    def body(self, model: str, question: str, *, is_stream: bool = True, **fields: object) -> Body:
        usage = {"stream_options": {"include_usage": True}} if is_stream else {}
        return super().body(model, question, is_stream=is_stream, **usage, **fields)

    def text_of(self, whole: Any) -> str:  # noqa: ANN401  the body of a response
        return whole["choices"][0]["message"]["content"]


class _Completions(_OpenAI):
    name = "openai completions"
    path = "/openai/v1/completions"
    reading = CompletionReading

    def text_of(self, whole: Any) -> str:  # noqa: ANN401  the body of a response
        return whole["choices"][0]["text"]

    def _question(self, question: str) -> Body:
        return {"prompt": question}


class _Ollama(Surface):
    name = "ollama"
    path = "/ollama/api/chat"
    reading = OllamaReading

    def text_of(self, whole: Any) -> str:  # noqa: ANN401  the body of a response
        return whole["message"]["content"]

    def fault_of(self, response: httpx.Response) -> Fault:
        body = response.json()
        assert body.keys() == {"error"}, body
        return Fault(body["error"], None)


class _Generating(_Ollama):
    name = "ollama generate"
    path = "/ollama/api/generate"
    reading = GeneratingReading

    def text_of(self, whole: Any) -> str:  # noqa: ANN401  the body of a response
        return whole["response"]

    def _question(self, question: str) -> Body:
        return {"prompt": question}


class Answering:
    """A response being read, piece by piece."""

    def __init__(self, surface: Surface, response: httpx.Response) -> None:
        self.response = response
        self.reading = surface.reading()
        self._pieces = response.aiter_raw()

    @property
    def text(self) -> str:
        """What the model has said so far."""
        return self.reading.text

    async def until_text(self, text: str) -> None:
        """Read until the model has said exactly this."""
        while self.text != text:
            assert text.startswith(self.text), self.text
            assert await self.read(), f"it ended with {self.text!r}: {self.reading.error}"

    async def until_heartbeat(self) -> None:
        """Read until something comes that says nothing, so that the connection is not taken for dead."""
        before = self.text
        assert await self.read()
        assert self.text == before
        assert not self.reading.has_ended

    async def rest(self) -> Reading:
        """Read to the end, which the server makes in order, and return all of it; it must be as its protocol has it."""
        while await self.read():
            pass
        self.reading.close()
        assert not self.reading.faults, self.reading.faults
        return self.reading

    async def read(self) -> bool:
        """Read once; False at the end."""
        data = await anext(self._pieces, None)
        if data is not None:
            self.reading.feed(data)
        return data is not None


NATIVE, OPENAI, OLLAMA = _Native(), _OpenAI(), _Ollama()
COMPATIBLE = (OPENAI, OLLAMA)
"""Those of others' protocols, where their clients chat."""
ALL = (NATIVE, *COMPATIBLE, _Completions(), _Generating())
BY_NAME = {surface.name: surface for surface in ALL}


def _shaped_error(body: Body, faults: list[str]) -> Fault:
    if body.keys() != {"error"} or body["error"].keys() != _ERROR_FIELDS:
        faults.append(f"an error of another form: {body}")
    return Fault(body["error"]["message"], body["error"]["code"])
