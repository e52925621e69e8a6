"""An Ollama that tells each job a story of which every word names the job, the generation and its place.

What is to be told, and what shall go wrong on the way, stands in the question itself, so that any storyteller beside
any worker does the same for it, and a run can be repeated.
"""

import re
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
from aiohttp import web
from msgspec import Struct

from infra.local.ollama_wire import ChatCall, GeneratingCall
from tests.ollama_double import BUSY, Answer, Cut, End, Fail, Generation, Hang, OllamaDouble, Raw, Step

MARK = re.compile(r"mk[0-9a-f]{12}")

MISFORTUNES: dict[str, Step] = {
    "reset": Cut("rst"),
    "closed": Cut("fin"),
    "no closing line": End(),
    "garbage": Raw(b"\x00\xff not JSON\n"),
    "half a line": Raw(b'{"message":{"content":"lost'),
    "fails": Fail(),
    "busy": BUSY,
    "hangs": Hang(),
}
"""What may go wrong, by name; what ends no answer by itself ends it all the same."""


class Misfortune(Struct, frozen=True, array_like=True):
    """What goes wrong in one generation."""

    what: str  # a name of MISFORTUNES
    after: int  # so many words


class Wish(Struct, frozen=True, omit_defaults=True):
    """What a job asks a storyteller for."""

    mark: str
    words: int
    pace_ms: float = 0
    misfortunes: tuple[Misfortune, ...] = ()  # of its first generations, in turn; later ones have none


class Storyteller(OllamaDouble):
    """Tells stories.

    Args:
        models: The names it has.
        tellings: How often each story was begun; shared by all storytellers of a run.
        goes_on: Whether it continues a story that has begun; otherwise it begins anew.

    """

    def __init__(self, models: Sequence[str], tellings: Counter[str], *, goes_on: bool) -> None:
        super().__init__(models, goes_on=goes_on)
        self._loaded_until = dict.fromkeys(self.models, datetime.max.replace(tzinfo=UTC))  # loading is no fault
        self._tellings = tellings

    async def respond(self, request: web.Request, call: GeneratingCall) -> web.StreamResponse:
        """Tell the story that is wished for, from where the prompt leaves off; other questions are echoed."""
        try:
            wish = msgspec.json.decode(call.question, type=Wish)
        except msgspec.DecodeError:
            return await super().respond(request, call)
        self._tellings[wish.mark] += 1
        number = self._tellings[wish.mark]
        steps: list[Step] = list(story(wish, number, told=call.begun if self.goes_on else ""))
        if number <= len(wish.misfortunes):
            misfortune = wish.misfortunes[number - 1]
            steps[misfortune.after :] = [MISFORTUNES[misfortune.what], End()]
        answer = Answer(step_ms=wish.pace_ms)
        return await self._play(request, call, answer, steps, line=call.line, streams=call.stream is not False)


def story(wish: Wish, number: int, *, told: str = "") -> list[str]:
    """Return the words of a story that begins after what was told already."""
    words = [f"{wish.mark}.{number}.{place} " for place in range(len(told.split()), wish.words)]
    if told and words and not told[-1].isspace():
        words[0] = " " + words[0]
    return words


def mark_of(generation: Generation) -> str:
    """Return the mark of the job that a generation was for; empty: it was nobody's story."""
    said = [message["content"] for message in generation.request["messages"] if message["role"] == "user"]
    try:
        return msgspec.json.decode(said[-1], type=Wish).mark
    except (IndexError, msgspec.DecodeError):
        return ""


def prefill_of(generation: Generation) -> str:
    """Return the beginning of the answer that the prompt ended with; empty: it ended with the question."""
    return msgspec.convert(generation.request, type=ChatCall).begun
