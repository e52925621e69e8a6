"""What the double has seen, and how a test waits for it."""

import asyncio
from collections.abc import Callable
from typing import Any, Literal

from msgspec import Struct

from infra.local.ollama_wire import Piece

UNTIL_S = 10.0  # a guard against hanging, never a statement about time

Outcome = Literal["active", "completed", "aborted", "broken"]


class Generation(Struct):
    """One call to chat, generate or embed."""

    model: str
    path: str
    client: str  # address and port of the connection it came by
    headers: dict[str, str]  # names in lower case
    request: dict[str, Any]
    outcome: Outcome = "active"  # aborted by the client's going away; broken off by the script
    sent: list[Piece] = []  # in order; noted just before it is written
    was_closed: bool = False  # whether the closing line was written

    @property
    def tokens_sent(self) -> int:
        """How many pieces were sent."""
        return len(self.sent)

    @property
    def text(self) -> str:
        """The text that was sent."""
        return "".join(piece.content for piece in self.sent)


class State(Struct):
    """Everything the double has seen, oldest first."""

    generations: list[Generation] = []

    def ended_as(self, outcome: Outcome) -> list[Generation]:
        """Return the generations that have come to this."""
        return [generation for generation in self.generations if generation.outcome == outcome]


class Records:
    """A state, and the news that it has changed."""

    def __init__(self) -> None:
        self.state = State()
        self._changed = asyncio.Event()

    def open(self, generation: Generation) -> None:
        """Add a generation that begins."""
        self.state.generations.append(generation)
        self.changed()

    def changed(self) -> None:
        """Wake whoever waits."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def until(self, predicate: Callable[[State], object], description: str) -> None:
        """Wait until `predicate` holds.

        Raises:
            AssertionError: It did not within `UNTIL_S`; names `description`.

        """
        try:
            async with asyncio.timeout(UNTIL_S):
                while not predicate(self.state):
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"never happened: {description}; seen: {self.state}") from None


class Gates:
    """Places where answers wait until a test lets them go on."""

    def __init__(self) -> None:
        self._gates: dict[str, asyncio.Event] = {}

    def release(self, gate: str) -> None:
        """Let everybody at the gate go on, and everybody who comes later."""
        self._gates.setdefault(gate, asyncio.Event()).set()

    async def wait_at(self, gate: str | None) -> None:
        """Wait until `gate` is released; None never is."""
        await (asyncio.Event() if gate is None else self._gates.setdefault(gate, asyncio.Event())).wait()
