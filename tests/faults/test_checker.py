"""The checker finds what is planted in transcripts, names it, and finds nothing in those that are right."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from infra.local.ollama_wire import Piece
from tests.faults.checker import SENT, TRANSCRIPT, check, documented_codes, judge
from tests.faults.rules import Rule
from tests.faults.storyteller import Wish, story
from tests.faults.transcript import (
    Cancellation,
    Connection,
    Ending,
    JobTranscript,
    KeptJob,
    Line,
    Question,
    Recorder,
    SeenEvent,
    WholeAnswer,
    by_job,
)
from tests.ollama_double import Generation

MINE, OTHER = "mk000000000001", "mk000000000002"
JOB = "job-1"
CODES = {"upstream_interrupted": 502, "cancelled": 499, "job_lost": 502, "store_unavailable": 503}

Event = dict[str, Any]


class Run:
    """A run that is right, until a test spoils it: a job of `words`, taken over in given ways at given places."""

    def __init__(self, words: int = 6, takeovers: tuple[tuple[str, int], ...] = ()) -> None:
        self.wish = Wish(MINE, words)
        self.events: list[tuple[str, Event]] = []
        self.generations: list[Generation] = []
        self.question = Question(MINE, "ada", "model")
        self.cuts: list[int] = []  # after so many events the connection is cut
        kept: list[str] = []
        self._log("started", {"job_id": JOB, "worker": "w", "attempt": 1})
        for number, (mode, after) in enumerate((*takeovers, ("", words)), start=1):
            prefill = "".join(kept).rstrip()
            pieces = story(self.wish, number, told=prefill)
            said = pieces[: max(0, after - len(kept))] if mode else pieces
            self.generations.append(generation(pieces, prefill=prefill, was_closed=not mode))
            head = [said[0].lstrip(), *said[1:]] if said and kept and kept[-1].endswith(" ") else said
            for piece in head:
                self._log("chunk", {"model": "m", "content": piece, "done": False})
            kept = kept + head
            if mode:
                said_nothing = not kept
                kept = kept if mode == "continued" else []
                self._log(
                    *(
                        ("started", {"job_id": JOB, "worker": "w", "attempt": 2})
                        if said_nothing
                        else ("resumed", {"attempt": number + 1, "mode": mode})
                    )
                )
        self._log("chunk", {"model": "m", "content": "", "done": True, "usage": {"completion_tokens": len(kept)}})

    def _log(self, type_: str, data: Event) -> None:
        self.events.append((type_, data))

    def seen(self) -> list[SeenEvent]:
        return [
            SeenEvent(type_, json.dumps(data), id=place) for place, (type_, data) in enumerate(self.events, start=1)
        ]

    def job(self, *readers: list[Connection]) -> JobTranscript:
        lines: list[Line] = [self.question]
        for connections in readers or [connections_of(self.seen(), self.cuts)]:
            lines += connections
        return by_job(lines)[0]


def moved(events: list[SeenEvent], *, by: int) -> list[SeenEvent]:
    """Return events with greater ids from the first `resumed` on."""
    place = next(place for place, event in enumerate(events) if event.type == "resumed")
    return events[:place] + [replace(event, id=(event.id or 0) + by) for event in events[place:]]


def generation(pieces: list[str], *, prefill: str = "", was_closed: bool = True, mark: str = MINE) -> Generation:
    question = msgspec.json.encode(Wish(mark, len(pieces))).decode()
    messages = [{"role": "user", "content": question}]
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


def connections_of(events: list[SeenEvent], cuts: list[int], reader: str = "first") -> list[Connection]:
    """Return the events as they come over connections that are cut after so many events each."""
    places = [0, *sorted(cuts), len(events)]
    return [
        connection(events[begin:end], reader=reader, after=begin, ending="ended" if end == len(events) else "cut")
        for begin, end in pairwise(places)
    ]


def connection(
    events: list[SeenEvent],
    *,
    reader: str = "first",
    after: int = 0,
    ending: Ending = "ended",
    job_id: str | None = JOB,
    status: int | None = 200,
    code: str | None = None,
) -> Connection:
    return Connection(
        mark=MINE,
        reader=reader,
        gateway="g",
        after=after,
        ending=ending,
        opened_ms=0,
        closed_ms=0,
        job_id=job_id,
        status=status,
        code=code,
        events=tuple(events),
    )


def rules(run: Run, job: JobTranscript | None = None) -> set[Rule]:
    return {violation.rule for violation in judge([job or run.job()], run.generations, documented=CODES)}


runs = st.builds(
    Run,
    st.integers(1, 8),
    st.lists(st.tuples(st.sampled_from(["restarted", "continued"]), st.integers(0, 8)), max_size=3).map(tuple),
)


class TestWhatIsRight:
    @given(runs, st.lists(st.integers(0, 12), max_size=3), st.integers(0, 12))
    def test_is_not_blamed(self, run: Run, cuts: list[int], late: int) -> None:
        """Whatever was taken over, however often readers came back, and where others began to read."""
        events = run.seen()
        first = connections_of(events, [cut for cut in cuts if cut < len(events)])
        late = min(late, len(events) - 1)
        second = [connection(events[late:], reader="second", after=late)]

        assert judge([run.job(first, second)], run.generations, documented=CODES) == []

    @pytest.mark.parametrize(
        ("takeovers", "chunks"),
        [((), 7), ((("continued", 3),), 7), ((("restarted", 3),), 7)],
        ids=["told at once", "continued", "restarted"],
    )
    def test_is_a_whole_answer(self, takeovers: tuple[tuple[str, int], ...], chunks: int) -> None:
        run = Run(takeovers=takeovers)
        kept = [event for type_, event in run.events if type_ == "chunk"][-chunks:]
        assert rules(run, answered(run, kept)) == set()

    def test_is_a_log_that_replaces_one_that_redis_has_lost(self) -> None:
        """Its ids are greater than all that were lost, and its first event makes void what was before."""
        run = Run(takeovers=(("restarted", 3),))
        assert not rules(run, run.job(connections_of(moved(run.seen(), by=4096 - 4), [2])))

    def test_is_an_accepted_job_with_its_answer(self) -> None:
        run = Run(takeovers=(("continued", 3),))
        assert (
            rules(run, kept(run, KeptJob(MINE, "g", 0, 0, status=503, code="store_unavailable"), ended_as(run)))
            == set()
        )

    def test_is_a_failure_that_the_plan_excuses(self) -> None:
        run = Run()
        run.question = replace(run.question, excused=("upstream_interrupted",))
        run.events[3:] = [("error", {"error": {"code": "upstream_interrupted"}})]
        assert rules(run) == set()

    def test_is_a_job_that_was_cancelled_or_left(self) -> None:
        run = Run()
        run.events[3:] = [("error", {"error": {"code": "cancelled"}})]
        lines: list[Line] = [run.question, Cancellation(MINE, 0), *connections_of(run.seen(), [])]
        assert rules(run, by_job(lines)[0]) == set()
        assert rules(run, Run().job([connection(Run().seen()[:3], ending="left")])) == set()

    def test_is_a_request_that_was_never_answered(self) -> None:
        run = Run()
        assert rules(run, run.job([connection([], job_id=None, status=None, ending="cut")])) == set()

    def test_is_a_refusal_before_the_answer(self) -> None:
        run = Run()
        refused = connection([], job_id=None, status=503, code="store_unavailable", ending="refused")
        assert rules(run, run.job([refused, *connections_of(run.seen(), [])])) == set()


class TestPlanted:
    @given(st.integers(1, 6), st.sampled_from([[], [4]]))
    def test_drop(self, place: int, cuts: list[int]) -> None:
        run = Run()
        events = run.seen()
        spoilt = connections_of(events, cuts)
        spoilt = [replace(each, events=tuple(e for e in each.events if e.id != place + 1)) for each in spoilt]
        assert Rule.MISSING in rules(run, run.job(spoilt))

    @given(st.integers(0, 6), st.integers(0, 6))
    def test_duplicate(self, place: int, again: int) -> None:
        """At once, later, or over a reconnect."""
        run = Run()
        events = run.seen()
        events.insert(max(place, again), events[place])
        assert Rule.DUPLICATED in rules(run, run.job([connection(events)]))
        assert Rule.DUPLICATED in rules(run, run.job(connections_of(events, [4])))

    @given(st.lists(st.integers(0, 6), min_size=2, max_size=2, unique=True))
    def test_swap(self, places: list[int]) -> None:
        run = Run()
        events = run.seen()
        one, other = places
        events[one], events[other] = events[other], events[one]
        assert Rule.DISORDERED in rules(run, run.job([connection(events)]))

    @given(st.lists(st.integers(1, 6), min_size=2, max_size=2, unique=True))
    def test_swap_of_words_under_ids_that_go_on(self, places: list[int]) -> None:
        run = Run()
        one, other = places
        run.events[one], run.events[other] = run.events[other], run.events[one]
        assert Rule.TEXT in rules(run) or Rule.FALSE_SUCCESS in rules(run)

    @given(st.integers(1, 6))
    def test_word_dropped_before_it_had_an_id(self, place: int) -> None:
        run = Run()
        del run.events[place]
        assert rules(run) & {Rule.TEXT, Rule.FALSE_SUCCESS}

    @given(st.integers(1, 6))
    def test_word_doubled_before_it_had_an_id(self, place: int) -> None:
        run = Run()
        run.events.insert(place, run.events[place])
        assert Rule.TEXT in rules(run)

    @given(st.integers(1, 6))
    def test_cross_talk(self, place: int) -> None:
        run = Run()
        run.events[place][1]["content"] = f"{OTHER}.1.{place} "
        assert Rule.CROSSED in rules(run)

    def test_cross_talk_of_a_job_id(self) -> None:
        run = Run()
        run.events[0][1]["job_id"] = "job-2"
        assert Rule.CROSSED in rules(run)

    def test_cross_talk_in_a_whole_answer(self) -> None:
        run = Run()
        chunks = [event for type_, event in run.events if type_ == "chunk"]
        assert Rule.CROSSED in rules(run, answered(run, [chunks[0] | {"content": f"{OTHER}.1.0 "}, *chunks]))

    @given(st.integers(0, 6))
    def test_false_success(self, sent: int) -> None:
        """The model broke off, and the answer is told as whole."""
        run = Run()
        (broken,) = run.generations
        del broken.sent[sent:]
        broken.was_closed = False
        del run.events[1 + sent : -1]
        assert Rule.FALSE_SUCCESS in rules(run)

    def test_false_success_of_a_whole_answer(self) -> None:
        run = Run()
        run.generations[0].was_closed = False
        chunks = [event for type_, event in run.events if type_ == "chunk"]
        assert Rule.FALSE_SUCCESS in rules(run, answered(run, chunks))

    def test_last_word_cut_short(self) -> None:
        run = Run()
        run.events[-2][1]["content"] = run.events[-2][1]["content"][:-2]
        assert Rule.FALSE_SUCCESS in rules(run)

    def test_gap_before_a_log_that_does_not_begin_where_logs_do(self) -> None:
        run = Run(takeovers=(("restarted", 3),))
        assert rules(run, run.job(connections_of(moved(run.seen(), by=5000), []))) == {Rule.MISSING}

    def test_gap_where_the_text_goes_on(self) -> None:
        run = Run(takeovers=(("continued", 3),))
        assert rules(run, run.job(connections_of(moved(run.seen(), by=4096 - 4), []))) == {Rule.MISSING}

    def test_accepted_job_that_is_gone(self) -> None:
        run = Run()
        assert rules(run, kept(run, KeptJob(MINE, "g", 0, 0, status=202, job_id=JOB, code="not_found"))) == {Rule.LOST}

    def test_accepted_job_that_does_not_end(self) -> None:
        run = Run()
        assert rules(run, kept(run, replace(ended_as(run), ended_as="running"))) == {Rule.UNENDED}

    def test_accepted_job_that_fails(self) -> None:
        run = Run()
        failed = replace(ended_as(run), ended_as="failed", code="job_lost")
        assert rules(run, kept(run, failed)) == {Rule.FAILED}

    def test_accepted_job_with_a_part_of_its_answer(self) -> None:
        run = Run()
        whole = ended_as(run)
        assert Rule.FALSE_SUCCESS in rules(run, kept(run, replace(whole, content=(whole.content or "")[:-20])))
        assert rules(run, kept(run, replace(whole, content=None))) == {Rule.LOST}

    @given(st.integers(1, 7))
    def test_missing_end(self, events: int) -> None:
        run = Run()
        assert Rule.UNENDED in rules(run, run.job([connection(run.seen()[:events])]))
        assert Rule.UNENDED in rules(run, run.job([connection(run.seen()[:events], ending="cut")]))

    def test_two_ends(self) -> None:
        run = Run()
        run.events.append(("error", {"error": {"code": "upstream_interrupted"}}))
        assert Rule.TWO_ENDS in rules(run)

    def test_two_ends_for_two_readers(self) -> None:
        run, other = Run(), Run()
        other.events[-1] = ("error", {"error": {"code": "upstream_interrupted"}})
        second = [replace(each, reader="second") for each in connections_of(other.seen(), [])]
        assert Rule.UNEQUAL in rules(run, run.job(connections_of(run.seen(), []), second))

    def test_something_after_the_end(self) -> None:
        run = Run()
        run.events.append(run.events[1])
        assert Rule.AFTER_THE_END in rules(run)

    @given(st.integers(1, 6))
    def test_another_word_for_another_reader(self, place: int) -> None:
        run, other = Run(), Run()
        other.events[place][1]["content"] += "x"
        second = [replace(each, reader="second") for each in connections_of(other.seen(), [])]
        assert Rule.UNEQUAL in rules(run, run.job(connections_of(run.seen(), []), second))

    def test_restart_that_is_not_told(self) -> None:
        run = Run(takeovers=(("restarted", 3),))
        run.events = [event for event in run.events if event[0] != "resumed"]
        assert Rule.TEXT in rules(run)

    def test_restart_told_as_a_start(self) -> None:
        run = Run(takeovers=(("restarted", 3),))
        run.events[4] = ("started", {"job_id": JOB, "worker": "w", "attempt": 2})
        assert Rule.TEXT in rules(run)

    @given(st.integers(1, 5))
    def test_stale_words_after_a_restart(self, stale: int) -> None:
        """As of a worker that was frozen and woke up."""
        run = Run(takeovers=(("restarted", 3),))
        old = run.generations[0].sent[3].content
        run.events.insert(4 + stale, ("chunk", {"model": "m", "content": old, "done": False}))
        assert Rule.TEXT in rules(run)

    def test_restart_told_as_a_continuation(self) -> None:
        run = Run(takeovers=(("restarted", 3),))
        run.events[4][1]["mode"] = "continued"
        assert Rule.WRONG_PREFILL in rules(run)

    def test_continuation_told_as_a_restart(self) -> None:
        run = Run(takeovers=(("continued", 3),))
        run.events[4][1]["mode"] = "restarted"
        assert rules(run) & {Rule.WRONG_PREFILL, Rule.TEXT}

    def test_continuation_of_another_text(self) -> None:
        run = Run(takeovers=(("continued", 3),))
        del run.events[3]
        assert Rule.WRONG_PREFILL in rules(run)

    def test_wrong_usage(self) -> None:
        run = Run()
        run.events[-1][1]["usage"]["completion_tokens"] = 7
        assert rules(run) == {Rule.MISCOUNTED}

    @pytest.mark.parametrize("code", ["oops", ""])
    def test_code_that_nobody_documented(self, code: str) -> None:
        run = Run()
        run.events[3:] = [("error", {"error": {"code": code}})]
        assert Rule.UNDOCUMENTED in rules(run)

    def test_failure_without_a_reason(self) -> None:
        run = Run()
        run.events[3:] = [("error", {"error": {"code": "upstream_interrupted"}})]
        assert rules(run) == {Rule.FAILED}

    def test_status_that_is_not_the_code_s(self) -> None:
        run = Run()
        body = json.dumps({"error": {"code": "upstream_interrupted"}})
        answer = WholeAnswer(MINE, "g", 0, 0, status=500, body=body)
        assert Rule.UNDOCUMENTED in rules(run, by_job([run.question, answer])[0])

    def test_resumption_that_is_refused(self) -> None:
        run = Run()
        spoilt = [
            *connections_of(run.seen()[:3], []),
            connection([], after=3, status=404, code="not_found", ending="refused"),
        ]
        assert Rule.FAILED in rules(run, run.job(spoilt))

    def test_event_without_an_id(self) -> None:
        run = Run()
        events = run.seen()
        events[3] = replace(events[3], id=None)
        assert Rule.WITHOUT_ID in rules(run, run.job([connection(events)]))


def test_a_run_is_judged_from_its_files(tmp_path: Path) -> None:
    run = Run(takeovers=(("restarted", 3), ("continued", 2)))
    with Recorder.at(tmp_path / TRANSCRIPT) as clients, Recorder.at(tmp_path / SENT) as model:
        for line in (run.question, *connections_of(run.seen(), [4])):
            clients.write(line)
        for each in run.generations:
            model.write(each)
        assert check(tmp_path) == []

        clients.write(connections_of(run.seen(), [4])[-1])
    assert {violation.rule for violation in check(tmp_path)} == {
        Rule.DUPLICATED,
        Rule.TWO_ENDS,
        Rule.AFTER_THE_END,
    }


def test_the_documented_codes_are_read_from_the_table() -> None:
    assert documented_codes()["job_lost"] == 502


def kept(run: Run, *lines: KeptJob) -> JobTranscript:
    """Return the job as it was looked at after it had been accepted, or not."""
    return by_job([run.question, *lines])[0]


def ended_as(run: Run) -> KeptJob:
    """Return the job as it is shown when it has completed."""
    text = "".join(event["content"] for type_, event in run.events if type_ == "chunk")
    usage = run.events[-1][1]["usage"]
    return KeptJob(MINE, "g", 0, 0, status=202, job_id=JOB, ended_as="completed", content=text, usage=usage)


def answered(run: Run, chunks: list[Event]) -> JobTranscript:
    """Return the job with its answer in one piece."""
    return by_job([run.question, WholeAnswer(MINE, "g", 0, 0, status=200, body=json.dumps(chunks))])[0]
