"""One answer of the double while it is played on a connection."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Literal

from aiohttp import web

from infra.local.ollama_wire import JSON, NDJSON, Ending, Piece, encode
from tests.faults.proxy import reset
from tests.ollama_double.answers import Answer, Done, Fail, Step
from tests.ollama_double.records import Gates, Generation, Records

A_MILLISECOND_NS = 1_000_000


class BrokenOffError(Exception):
    """The script ends the answer here."""


class Performance:
    """Plays steps; implements `Stage`.

    Args:
        request: What is answered.
        answer: How.
        generation: What is recorded of it.
        line: Writes a line of the answer, the last one with an ending.
        prompt_tokens: The size of the prompt.
        streams: Whether every token has a line of its own.
        gates: Where `Hang` waits.
        records: Told when `generation` changes.

    """

    def __init__(
        self,
        request: web.Request,
        answer: Answer,
        generation: Generation,
        *,
        line: Callable[[Piece, Ending | None], bytes],
        prompt_tokens: int,
        streams: bool,
        gates: Gates,
        records: Records,
    ) -> None:
        self._request = request
        self._answer = answer
        self._generation = generation
        self._line = line
        self._prompt_tokens = prompt_tokens
        self._streams = streams
        self._gates = gates
        self._records = records
        self._response = web.StreamResponse(headers={"Content-Type": NDJSON if streams else JSON})
        self._unwritten = b""

    async def play(self, steps: Sequence[Step]) -> web.StreamResponse:
        """Play the steps, and the closing line unless they say otherwise; returns the response, complete."""
        try:
            await self.pause(self._answer.load_ms)
            for step in steps:
                await (self.say(Piece(step)) if isinstance(step, str) else step.play(self))
                await self._between_steps()
            if not any(isinstance(step, Done) for step in steps):
                await self.close("stop")
        except BrokenOffError:
            self._generation.outcome = "broken"
        await self.flush()
        await self.send_headers()
        return self._response

    async def say(self, piece: Piece) -> None:
        """See `Stage.say`."""
        self._generation.sent.append(piece)
        if self._streams:
            await self.write(self._line(piece, None))
        self._records.changed()

    async def write(self, data: bytes) -> None:
        """See `Stage.write`."""
        self._unwritten += data
        if not self._answer.write_sizes:
            await self.flush()

    async def flush(self) -> None:
        """See `Stage.flush`."""
        data, self._unwritten = self._unwritten, b""
        for piece in _cut_up(data, self._answer.write_sizes):
            await self.send_headers()
            await self._response.write(piece)
            if self._answer.write_sizes:
                await self.pause(self._answer.write_gap_ms)

    async def send_headers(self) -> None:
        """See `Stage.send_headers`; does nothing when they are sent."""
        await self._response.prepare(self._request)

    async def pause(self, ms: float) -> None:
        """See `Stage.pause`."""
        await asyncio.sleep(ms / 1000)

    async def wait_at(self, gate: str | None) -> None:
        """See `Stage.wait_at`."""
        await self._gates.wait_at(gate)

    async def fail(self, failure: Fail) -> None:
        """See `Stage.fail`."""
        if not self._response.prepared and not self._unwritten:
            self._response.set_status(failure.status)
            self._response.headers["Content-Type"] = JSON
            if failure.retry_after is not None:
                self._response.headers["Retry-After"] = failure.retry_after
        await self.write(encode({"error": failure.message}))
        raise BrokenOffError

    async def close(self, reason: str) -> None:
        """See `Stage.close`."""
        ending = Ending(
            done_reason=reason,
            total_duration=A_MILLISECOND_NS,
            load_duration=round(self._answer.load_ms * A_MILLISECOND_NS),
            prompt_eval_count=self._prompt_tokens,
            prompt_eval_duration=A_MILLISECOND_NS,
            eval_count=self._generation.tokens_sent,
            eval_duration=A_MILLISECOND_NS,
        )
        self._generation.was_closed = True
        await self.write(self._line(Piece() if self._streams else _joined(self._generation.sent), ending))

    async def end(self) -> None:
        """See `Stage.end`."""
        raise BrokenOffError

    async def cut(self, how: Literal["rst", "fin"]) -> None:
        """See `Stage.cut`."""
        self._generation.outcome = "broken"
        self._records.changed()
        transport = self._request.transport
        if transport is not None and how == "rst":
            reset(transport)
        elif transport is not None:
            transport.close()
        await asyncio.Event().wait()  # the server cancels this when it sees the connection gone

    async def _between_steps(self) -> None:
        if self._answer.step_ms:
            await self.flush()
            await self.pause(self._answer.step_ms)


def _joined(pieces: Sequence[Piece]) -> Piece:
    return Piece(
        content="".join(piece.content for piece in pieces),
        thinking="".join(piece.thinking for piece in pieces),
        tool_calls=[call for piece in pieces for call in piece.tool_calls],
    )


def _cut_up(data: bytes, sizes: Sequence[int]) -> list[bytes]:
    pieces: list[bytes] = []
    start = 0
    while start < len(data):
        size = sizes[len(pieces) % len(sizes)] if sizes else len(data)
        pieces.append(data[start : start + size])
        start += size
    return pieces
