"""The checker finds what is planted in answers of other protocols, and finds nothing in those that are right."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from infra.local.ollama_wire import Piece
from tests.faults.checker import judge
from tests.faults.rules import Rule
from tests.faults.storyteller import Wish, story
from tests.faults.transcript import ForeignAnswer, Question, by_job
from tests.ollama_double import Generation

MINE, OTHER = "mk000000000001", "mk000000000002"
CODES = {"worker_lost": 502, "upstream_error": 502, "queue_full": 503, "upstream_rejected": 422}
WORDS = 6
BEGUN_ANEW = "The answer broke off and cannot go on: ask again."
SURFACES = ("openai", "ollama")

Frame = dict[str, Any] | str

every_surface = pytest.mark.parametrize("surface", SURFACES)


def generation(pieces: list[str], *, prefill: str = "", was_closed: bool = True) -> Generation:
    messages = [{"role": "user", "content": msgspec.json.encode(Wish(MINE, WORDS)).decode()}]
    messages += [{"role": "assistant", "content": prefill}] if prefill else []
    return Generation(
        model="m",
        path="/api/chat",
        client="",
        headers={},
        request={"model": "m", "messages": messages},
        sent=[Piece(piece) for piece in pieces],
        was_closed=was_closed,
    )


WHOLE = story(Wish(MINE, WORDS), 1)


def frames(surface: str, words: list[str], *, completion_tokens: int | None = None) -> list[Frame]:
    """Return a right answer of these words."""
    tokens = len(words) if completion_tokens is None else completion_tokens
    if surface == "ollama":
        line = {"model": "m", "created_at": "2026-01-01T00:00:00Z", "done": False}
        pieces: list[Frame] = [line | {"message": {"role": "assistant", "content": word}} for word in words]
        end = {"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"}
        return [*pieces, line | end | {"eval_count": tokens}]
    chunk = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "system_fingerprint": "f",
    }
    deltas: list[dict[str, str]] = [{"role": "assistant", "content": ""}, *({"content": word} for word in words), {}]
    pieces = [
        chunk
        | {
            "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None if delta else "stop"}],
            "usage": None,
        }
        for delta in deltas
    ]
    return [*pieces, chunk | {"choices": [], "usage": {"completion_tokens": tokens}}, "[DONE]"]


def fault(surface: str, code: str, message: str = BEGUN_ANEW) -> Frame:
    if surface == "ollama":
        return {"error": message}
    return {"error": {"code": code, "type": "t", "message": message, "param": None, "request_id": "r"}}


def answered(surface: str, said: list[Frame], **fields: Any) -> ForeignAnswer:  # noqa: ANN401
    bodies = [frame if isinstance(frame, str) else json.dumps(frame) for frame in said]
    body = "".join(f"{each}\n" if surface == "ollama" else f"data: {each}\n\n" for each in bodies)
    return replace(ForeignAnswer(MINE, surface, "g", "ended", 0, 0, status=200, body=body), **fields)


def rules(answer: ForeignAnswer, *sent: Generation, excused: tuple[str, ...] = ()) -> set[Rule]:
    job = by_job([Question(MINE, "ada", "m", excused), answer])
    return {violation.rule for violation in judge(job, sent or [generation(WHOLE)], documented=CODES)}


@every_surface
class TestWhatIsRight:
    def test_is_a_whole_answer(self, surface: str) -> None:
        assert rules(answered(surface, frames(surface, WHOLE))) == set()

    def test_is_an_answer_that_went_on_elsewhere(self, surface: str) -> None:
        prefill = "".join(WHOLE[:3]).rstrip()
        rest = story(Wish(MINE, WORDS), 2, told=prefill)
        sent = [generation(WHOLE, was_closed=False), generation(rest, prefill=prefill)]
        told = [*WHOLE[:3], rest[0].lstrip(), *rest[1:]]
        assert rules(answered(surface, frames(surface, told)), *sent) == set()

    @given(st.integers(1, WORDS), st.sampled_from(["cut", "left"]))
    def test_is_the_beginning_of_one_that_was_cut_or_left(self, surface: str, words: int, ending: str) -> None:
        said = frames(surface, WHOLE)[: words + (surface == "openai")]
        assert rules(answered(surface, said, ending=ending)) == set()

    @given(st.integers(1, WORDS))
    def test_is_an_error_once_it_has_begun_anew(self, surface: str, words: int) -> None:
        said = frames(surface, WHOLE)[: words + (surface == "openai")]
        broken = generation(WHOLE[:words], was_closed=False)
        assert rules(answered(surface, [*said, fault(surface, "worker_lost")]), broken) == set()

    def test_is_a_failure_that_the_plan_excuses(self, surface: str) -> None:
        said = [*frames(surface, WHOLE)[:2], fault(surface, "upstream_error", "Ollama failed.")]
        assert rules(answered(surface, said), excused=("upstream_error",)) == set()

    def test_is_a_request_without_an_answer(self, surface: str) -> None:
        assert rules(answered(surface, [], status=None, ending="cut")) == set()


@every_surface
class TestPlanted:
    @given(st.integers(0, WORDS - 1))
    def test_drop(self, surface: str, place: int) -> None:
        told = WHOLE[:place] + WHOLE[place + 1 :]
        assert rules(answered(surface, frames(surface, told))) & {Rule.TEXT, Rule.FALSE_SUCCESS}

    @given(st.integers(0, WORDS - 1))
    def test_duplicate(self, surface: str, place: int) -> None:
        told = WHOLE[: place + 1] + WHOLE[place:]
        assert rules(answered(surface, frames(surface, told))) & {Rule.TEXT, Rule.FALSE_SUCCESS}

    @given(st.integers(0, WORDS))
    def test_cross_talk(self, surface: str, place: int) -> None:
        told = [*WHOLE[:place], f"{OTHER}.1.0 ", *WHOLE[place:]]
        assert Rule.CROSSED in rules(answered(surface, frames(surface, told)))

    def test_text_of_two_generations_that_do_not_belong_together(self, surface: str) -> None:
        """What was shown before the restart is void, and the client was not told."""
        anew = story(Wish(MINE, WORDS), 2)
        sent = [generation(WHOLE[:3], was_closed=False), generation(anew)]
        assert rules(answered(surface, frames(surface, WHOLE[:3] + anew)), *sent) == {Rule.WRONG_PREFILL}

    def test_false_success(self, surface: str) -> None:
        broken = generation(WHOLE[:3], was_closed=False)
        assert rules(answered(surface, frames(surface, WHOLE[:3])), broken) == {Rule.FALSE_SUCCESS}

    def test_no_end(self, surface: str) -> None:
        assert rules(answered(surface, frames(surface, WHOLE)[:-1])) == {Rule.MALFORMED}

    def test_an_end_after_an_error(self, surface: str) -> None:
        said = frames(surface, WHOLE)
        spoilt = [*said[:3], fault(surface, "worker_lost"), said[-1]]
        assert Rule.MALFORMED in rules(answered(surface, spoilt))

    def test_something_after_the_end(self, surface: str) -> None:
        said = frames(surface, WHOLE)
        assert Rule.MALFORMED in rules(answered(surface, [*said, said[0]]))

    def test_an_error_for_no_reason(self, surface: str) -> None:
        said = frames(surface, WHOLE)[:2]
        assert rules(answered(surface, [*said, fault(surface, "upstream_error", "Ollama failed.")])) == {Rule.FAILED}

    def test_a_new_beginning_of_what_had_not_begun(self, surface: str) -> None:
        """Then there was nothing to take back."""
        assert rules(answered(surface, [fault(surface, "worker_lost")])) == {Rule.FAILED}

    def test_wrong_usage(self, surface: str) -> None:
        assert rules(answered(surface, frames(surface, WHOLE, completion_tokens=5))) == {Rule.MISCOUNTED}

    def test_a_refusal_for_no_reason(self, surface: str) -> None:
        body = json.dumps(fault(surface, "upstream_rejected", "No."))
        refused = replace(answered(surface, []), ending="refused", body=body)
        assert rules(replace(refused, status=400)) == {Rule.FAILED}
        assert Rule.UNDOCUMENTED in rules(replace(refused, status=500))


def test_a_code_that_nobody_documented() -> None:
    assert Rule.UNDOCUMENTED in rules(answered("openai", [*frames("openai", WHOLE)[:2], fault("openai", "oops")]))


def test_a_chunk_of_another_completion() -> None:
    said = frames("openai", WHOLE)
    assert isinstance(said[3], dict)
    said[3] = said[3] | {"id": "chatcmpl-2"}
    assert rules(answered("openai", said)) == {Rule.MALFORMED}
