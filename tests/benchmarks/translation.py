"""What a token costs in the form of each surface: `python -m tests.benchmarks.translation`.

No network, no processes: the gateway's own work on a token between the relay and the socket, on one core.
"""

import time
from collections.abc import Callable, Sequence

from msgspec import Struct

from gateway.chat import event_stream
from gateway.ollama_api import lines
from gateway.ollama_api.lines import AnswerLines
from gateway.openai_api.streams import ChatStream, TextStream
from shared.clock import SystemClock
from shared.events import Event
from shared.ids import new_id
from tests.benchmarks.markdown import aligned
from tests.job_events import chunk, events

TOKENS = 2_000
ROUNDS = 40
MODEL = "llama3.2:3b"
MOST_US_OVER_NATIVE = 10.0  # issue 5

Write = Callable[[Sequence[Event]], bytes]
"""Writes events as frames."""


class Form(Struct, frozen=True):
    """The form of a surface."""

    name: str
    begin: Callable[[], Write]  # a stream of its own


FORMS = (
    Form("/v1/chat/stream", lambda: event_stream.to_frames),
    Form("/openai/v1/chat/completions", lambda: ChatStream(job_id=new_id(), model=MODEL, includes_usage=True).frames),
    Form("/openai/v1/completions", lambda: TextStream(job_id=new_id(), model=MODEL, includes_usage=True).frames),
    Form("/ollama/api/chat", lambda: AnswerLines(lines.CHAT, model=MODEL, clock=SystemClock()).write),
    Form("/ollama/api/generate", lambda: AnswerLines(lines.GENERATE, model=MODEL, clock=SystemClock()).write),
)


def us_per_token(form: Form, *, at_once: int) -> float:
    """Return what a token costs, the least of some rounds: whatever else runs here can only add to it."""
    tokens = events(*(chunk(f" token{number}") for number in range(TOKENS)))
    batches = [tokens[at : at + at_once] for at in range(0, TOKENS, at_once)]
    return min(_round_us(form.begin(), batches) for _ in range(ROUNDS)) / TOKENS


def _round_us(write: Write, batches: Sequence[Sequence[Event]]) -> float:
    began = time.perf_counter_ns()
    for batch in batches:
        write(batch)
    return (time.perf_counter_ns() - began) / 1000


def main() -> None:
    """Print the table."""
    native = us_per_token(FORMS[0], at_once=1)
    table = [("surface", "µs per token", "over native", "µs per token, 8 at once")]
    for form in FORMS:
        alone = us_per_token(form, at_once=1)
        table.append((form.name, f"{alone:.2f}", f"{alone - native:+.2f}", f"{us_per_token(form, at_once=8):.2f}"))
    print(aligned(table))  # noqa: T201
    print(f"At most {MOST_US_OVER_NATIVE:.0f} µs over native are allowed.")  # noqa: T201


if __name__ == "__main__":
    main()
