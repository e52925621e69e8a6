"""What the double can be told to do, as data: made in a test, or sent to another process as JSON."""

from typing import Any, Literal, Protocol

from msgspec import Struct

from infra.local.ollama_wire import Piece


class Stage(Protocol):
    """Where steps are played: one response under way."""

    async def say(self, piece: Piece) -> None:
        """Write a line of the answer, or keep it if the answer is sent whole."""
        ...

    async def write(self, data: bytes) -> None:
        """Write bytes as they are."""
        ...

    async def flush(self) -> None:
        """Send what is written and held back."""
        ...

    async def send_headers(self) -> None:
        """Send status 200 and the headers."""
        ...

    async def pause(self, ms: float) -> None:
        """Wait for so long."""
        ...

    async def wait_at(self, gate: str | None) -> None:
        """Wait until the gate is released."""
        ...

    async def fail(self, failure: "Fail") -> None:
        """Write an error and end."""
        ...

    async def close(self, reason: str) -> None:
        """Write the closing line."""
        ...

    async def end(self) -> None:
        """End the response without more."""
        ...

    async def cut(self, how: Literal["rst", "fin"]) -> None:
        """Cut the connection."""
        ...


class _Step(Struct, forbid_unknown_fields=True, tag_field="do", tag=str.lower):
    async def play(self, stage: Stage) -> None:
        """Do on `stage` what this step says."""
        raise NotImplementedError


class Thinking(_Step):
    """A token of thought."""

    text: str

    async def play(self, stage: Stage) -> None:
        await stage.say(Piece(thinking=self.text))


class ToolCalls(_Step):
    """A line with tool calls, as in `message.tool_calls`."""

    calls: list[Any]

    async def play(self, stage: Stage) -> None:
        await stage.say(Piece(tool_calls=self.calls))


class Raw(_Step):
    """Bytes as they are, newline not included: garbage, half a line, a lone surrogate."""

    data: bytes

    async def play(self, stage: Stage) -> None:
        await stage.write(self.data)


class Headers(_Step):
    """Send status 200 and the headers now, not with the first token."""

    async def play(self, stage: Stage) -> None:
        await stage.send_headers()


class Pause(_Step):
    """Do nothing for a while."""

    ms: float

    async def play(self, stage: Stage) -> None:
        await stage.flush()
        await stage.pause(self.ms)


class Hang(_Step):
    """Do nothing until the gate is released; without a gate, for ever."""

    gate: str | None = None

    async def play(self, stage: Stage) -> None:
        await stage.flush()
        await stage.wait_at(self.gate)


class Fail(_Step):
    """Say that something failed, as Ollama does: with a status if nothing was written yet, else in a last line."""

    message: str = "llama runner process has terminated: exit status 2"
    status: int = 500
    retry_after: str | None = None

    async def play(self, stage: Stage) -> None:
        await stage.fail(self)


class Done(_Step):
    """The closing line; needed for another reason than `stop`, or to be followed by something else."""

    reason: str = "stop"

    async def play(self, stage: Stage) -> None:
        await stage.close(self.reason)


class End(_Step):
    """End the response cleanly, without a closing line."""

    async def play(self, stage: Stage) -> None:
        await stage.end()


class Cut(_Step):
    """Cut the connection: by a reset, or by closing it in the middle of the response."""

    how: Literal["rst", "fin"] = "rst"

    async def play(self, stage: Stage) -> None:
        await stage.flush()
        await stage.cut(self.how)


Step = str | Thinking | ToolCalls | Raw | Headers | Pause | Hang | Fail | Done | End | Cut

BUSY = Fail("server busy, please try again.  maximum pending requests exceeded", status=503)


class Answer(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the double does with one call."""

    steps: tuple[Step, ...] | None = None  # None: what the demo model would say
    load_ms: float = 0  # the model loads for so long before anything else
    step_ms: float = 0  # between one step and the next
    write_sizes: tuple[int, ...] = ()  # cut what is written into pieces of these sizes, over and over; (): line by line
    write_gap_ms: float = 0  # between two such pieces


class Script(Struct, frozen=True, forbid_unknown_fields=True):
    """What a model does from now on: the answers in order, the last one again and again."""

    model: str
    answers: tuple[Answer, ...]
