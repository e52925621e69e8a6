"""Reads server-sent events by the rules of WHATWG HTML, 9.2.6, and is stricter than a browser where a server slips.

A browser forgives: it drops fields that it does not know and an event that the connection cut off. Here both fail.
"""

import codecs
import json
import re
from typing import Any

import httpx
from msgspec import Struct

_LINE_END = re.compile(r"\r\n|\n|\r(?!\Z)")  # a \r at the very end may be half of \r\n


class EventStreamError(AssertionError):
    """The bytes are no event stream as we promise it."""


class SentEvent(Struct, frozen=True):
    """One event as it was dispatched."""

    type: str
    data: str
    id: str | None = None  # of this event itself; None: it has none

    @property
    def json(self) -> Any:  # noqa: ANN401  whatever the event holds
        """The data, decoded."""
        return json.loads(self.data)


class EventParser:
    """Takes the bytes of a stream in any pieces."""

    def __init__(self) -> None:
        self.raw = bytearray()
        self.events: list[SentEvent] = []
        self.comments: list[str] = []
        self.retry_ms: int | None = None
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._text = ""
        self._fields: dict[str, list[str]] = {}  # of the event that is not complete yet

    def feed(self, data: bytes) -> None:
        """Take more bytes."""
        self.raw += data
        self._text += self._decoder.decode(data)
        *lines, self._text = _LINE_END.split(self._text)
        for line in lines:
            self._take(line)

    def close(self) -> None:
        """Say that the stream has ended.

        Raises:
            EventStreamError: In the middle of an event.

        """
        if self._text or self._fields or self._decoder.getstate()[0]:
            raise EventStreamError(f"the stream ends inside an event: {self._fields}, {self._text!r}")

    def _take(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "" if not line:
                self._dispatch()
            case "":
                self.comments.append(value)
            case "retry" if value.isdecimal():
                self.retry_ms = int(value)
            case "event" | "data" | "id":
                self._fields.setdefault(name, []).append(value)
            case _:
                raise EventStreamError(f"no field of an event stream: {line!r}")

    def _dispatch(self) -> None:
        fields, self._fields = self._fields, {}
        if not fields:
            return
        if any(len(values) > 1 for values in fields.values()) or "event" not in fields or "data" not in fields:
            raise EventStreamError(f"an event has one type and one line of data: {fields}")
        self.events.append(SentEvent(fields["event"][0], fields["data"][0], fields.get("id", [None])[0]))


class EventStream:
    """A response being read, event by event."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.parser = EventParser()
        self._pieces = response.aiter_raw()
        self._given = 0  # events that `next` has returned

    @property
    def events(self) -> list[SentEvent]:
        """Everything that has been read."""
        return self.parser.events

    @property
    def job_id(self) -> str:
        """The job, as the header says."""
        return self.response.headers["X-Job-Id"]

    @property
    def text(self) -> str:
        """What the model has said so far."""
        return "".join(event.json["content"] for event in self.events if event.type == "chunk")

    async def next(self) -> SentEvent:
        """Return the next event, reading no more than needed.

        Raises:
            EventStreamError: There is none: the stream has ended.

        """
        while self._given == len(self.events):
            if not await self.read():
                raise EventStreamError(f"the stream has ended after {self.events[-3:]}")
        self._given += 1
        return self.events[self._given - 1]

    async def until(self, type_: str) -> SentEvent:
        """Return the next event of this type, passing over others."""
        while (event := await self.next()).type != type_:
            pass
        return event

    async def rest(self) -> list[SentEvent]:
        """Read to the end and return all events of the stream, also those that were read before."""
        while await self.read():
            pass
        return self.events

    async def read(self) -> bool:
        """Read once; False at the end of the stream."""
        data = await anext(self._pieces, None)
        if data is None:
            self.parser.close()
            return False
        self.parser.feed(data)
        return True
