"""Ollama's double for tests: the demo model, plus everything a real Ollama does on its bad days.

What it does with a call is an `Answer`, a list of steps; a plain string is a token. For example

    Answer(("Hel", "lo", Hang("gate"), Cut()))

sends two tokens, waits until the test releases `gate`, and resets the connection. As with Ollama, the headers leave
with the first thing written, so a `Hang` at the start holds back the headers and a `Fail` at the start has a status.
Steps that do not end the answer themselves are followed by the closing line.

In the process of the test: `async with OllamaDouble() as double`, then `double.script(…)`, `double.release(…)` and
`await double.until(…)`. As a process of its own, `python -m tests.ollama_double`, which prints its URL, it listens for
the same by HTTP: `PUT /_double/script` takes a `Script`, `PUT /_double/gates/<gate>` releases, `GET /_double/state`
tells a `State`.
"""

from tests.ollama_double.answers import (
    BUSY,
    Answer,
    Cut,
    Done,
    End,
    Fail,
    Hang,
    Headers,
    Pause,
    Raw,
    Script,
    Step,
    Thinking,
    ToolCalls,
)
from tests.ollama_double.records import Generation, State
from tests.ollama_double.server import OllamaDouble

__all__ = [
    "BUSY",
    "Answer",
    "Cut",
    "Done",
    "End",
    "Fail",
    "Generation",
    "Hang",
    "Headers",
    "OllamaDouble",
    "Pause",
    "Raw",
    "Script",
    "State",
    "Step",
    "Thinking",
    "ToolCalls",
]
