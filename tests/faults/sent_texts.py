"""Compares what a client was told with what the model sent for its job."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from tests.faults.rules import Blame, Rule
from tests.faults.storyteller import prefill_of
from tests.ollama_double import Generation

_NUMBER = re.compile(r"\S+?\.(\d+)\.\d+\s*")  # in a storyteller's word: that of its generation


class SentTexts:
    """What the model sent for one job.

    Args:
        sent: Its generations, in order.
        blame: Is told what is wrong.

    """

    def __init__(self, sent: Sequence[Generation], blame: Blame) -> None:
        self._sent = sent
        self._blame = blame

    def find(self, text: str, sent: Sequence[Generation], *, kept: str, is_whole: bool) -> Generation | None:
        """Return the generation of which `text` is the beginning, or the whole, blaming what is wrong with it."""
        beginning_so = [generation for generation in sent if _begins(generation, text, kept=kept)]
        if not beginning_so:
            self._blame(Rule.TEXT, f"{text!r} after {kept!r}; sent: {[generation.text for generation in sent]}")
            return None
        whole = [each for each in beginning_so if each.was_closed and _begins(each, text, kept=kept, is_whole=True)]
        generation = (whole or beginning_so)[0] if is_whole else beginning_so[0]
        if is_whole and not whole:
            self._blame(Rule.FALSE_SUCCESS, f"of {generation.text!r} came {text!r}")
        if prefill_of(generation) not in (kept, kept.rstrip()):
            self._blame(Rule.WRONG_PREFILL, f"{prefill_of(generation)!r} for {kept!r}")
        return generation

    def judge_whole(self, text: str, usage: Mapping[str, Any]) -> None:
        """See that an answer is whole, and counted right."""
        tokens = self.judge_text(text, is_whole=True)
        if tokens is not None and usage["completion_tokens"] != tokens:
            self._blame(Rule.MISCOUNTED, f"{usage['completion_tokens']} instead of {tokens}")

    def judge_text(self, text: str, *, is_whole: bool) -> int | None:
        """See that a text is what one generation sent, or several that went on with one another; return its tokens."""
        unused, kept, tokens = list(self._sent), "", 0
        runs = list(_by_generation(text)) or [""] * is_whole
        if is_whole and text and any(_had_only_the_end_to_add(each, text) for each in unused):
            runs.append("")
        for place, run in enumerate(runs):
            is_end = is_whole and place == len(runs) - 1
            generation = self.find(run, unused, kept=kept, is_whole=is_end)
            if generation is None:
                return None
            unused.remove(generation)
            tokens += len(generation.sent) if is_end else len(run.split())
            kept += run
        return tokens


def _begins(generation: Generation, text: str, *, kept: str, is_whole: bool = False) -> bool:
    """Tell whether a generation's text begins with `text`, or is it; what follows a space has lost its own."""
    heads = (generation.text, generation.text.lstrip()) if kept[-1:].isspace() else (generation.text,)
    return any(head == text if is_whole else head.startswith(text) for head in heads)


def _had_only_the_end_to_add(generation: Generation, text: str) -> bool:
    """Tell whether a generation that went on with a text had nothing to add to it but its end."""
    return generation.was_closed and not generation.text and prefill_of(generation) == text.rstrip()


def _by_generation(text: str) -> Iterator[str]:
    """Split a storyteller's text where another generation takes it up."""
    words = re.findall(r"\s*\S+\s*", text)
    for _, run in groupby(words, key=lambda word: m[1] if (m := _NUMBER.fullmatch(word.lstrip())) else ""):
        yield "".join(run)
