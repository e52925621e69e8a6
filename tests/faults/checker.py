"""Judges a run afterwards: complete transcripts of clients against what the model sent, and not against the product."""

import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from tests.faults import transcript
from tests.faults.foreign_answers import ForeignJudge
from tests.faults.rules import Rule, Violation
from tests.faults.sent_texts import SentTexts
from tests.faults.storyteller import MARK, mark_of
from tests.faults.transcript import Connection, JobTranscript, KeptJob, SeenEvent, WholeAnswer
from tests.ollama_double import Generation

DOCUMENTED = Path(__file__).parents[2] / "docs" / "errors.md"
TRANSCRIPT, SENT = "clients.jsonl", "model.jsonl"  # the files of a run

_NOTHING_TO_WAIT_FOR = 204
_ACCEPTED = 202
_WITHOUT_ID = frozenset({"job_lost"})  # ends that no log can have
_LOGS_BEGIN_AFTER = 4096  # or after a multiple of it, when Redis has lost a log of a durable job


def check(directory: Path, *, excused: Iterable[str] = ()) -> list[Violation]:
    """Judge the run whose files are in `directory`.

    Args:
        directory: Has TRANSCRIPT and SENT.
        excused: Codes with which any job may end in this run.

    """
    jobs = transcript.read(directory / TRANSCRIPT)
    with (directory / SENT).open("rb") as lines:
        sent = [msgspec.json.decode(line, type=Generation) for line in lines]
    return judge(jobs, sent, documented=documented_codes(), excused=excused)


def documented_codes(document: Path = DOCUMENTED) -> dict[str, int]:
    """Return the status of each code in the table of errors."""
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \|", document.read_text(), re.MULTILINE)
    return {code: int(status) for code, status in rows}


def judge(
    jobs: Iterable[JobTranscript],
    sent: Iterable[Generation],
    *,
    documented: Mapping[str, int],
    excused: Iterable[str] = (),
) -> list[Violation]:
    """Return every promise that was broken."""
    told: dict[str, list[Generation]] = {}
    for generation in sent:
        told.setdefault(mark_of(generation), []).append(generation)
    found: list[Violation] = []
    for job in jobs:
        verdict = _Verdict(job, told.get(job.mark, []), documented, frozenset(excused))
        found += verdict.reach()
    return found


class _Verdict:
    """The judgement of one job."""

    def __init__(
        self, job: JobTranscript, sent: list[Generation], documented: Mapping[str, int], excused: frozenset[str]
    ) -> None:
        self._job = job
        self._sent = sent
        self._documented = documented
        self._excused = excused | set(job.question.excused)
        if job.was_cancelled or job.was_left:
            self._excused |= {"cancelled"}
        self._found: list[Violation] = []
        self._texts = SentTexts(sent, self._blame)

    def reach(self) -> list[Violation]:
        for reader, connections in self._job.readers.items():
            self._judge_order(reader, connections)
            self._judge_end(reader, connections)
        for connection in (each for connections in self._job.readers.values() for each in connections):
            self._judge_belonging(connection)
        if log := self._common_log():
            self._judge_log(log)
        for answer in self._job.answers:
            self._judge_answer(answer, is_final=answer is self._job.answers[-1])
        foreign = ForeignJudge(self._job.mark, self._texts, self._documented, self._excused, self._blame)
        for answer in self._job.foreign:
            foreign.judge(answer, is_final=answer is self._job.foreign[-1])
        for kept in self._job.kept:
            self._judge_kept(kept, is_final=kept is self._job.kept[-1])
        return self._found

    def _blame(self, rule: Rule, detail: str) -> None:
        self._found.append(Violation(rule, self._job.mark, detail))

    def _judge_order(self, reader: str, connections: Sequence[Connection]) -> None:
        events = [event for connection in connections for event in connection.events]
        ids = [event.id for event in events if event.id is not None]
        began_after = connections[0].after
        if twice := [id_ for id_, times in Counter(ids).items() if times > 1]:
            self._blame(Rule.DUPLICATED, f"{reader}: {twice}")
        first = list(dict.fromkeys(ids))
        if first != sorted(first):
            self._blame(Rule.DISORDERED, f"{reader}: {first}")
        if missing := _missing(events, began_after):
            self._blame(Rule.MISSING, f"{reader}: {missing}")
        for event in events:
            may_lack_it = event.type == "queued" or (event.type == "error" and _code(event) in _WITHOUT_ID)
            if event.id is None and not may_lack_it:
                self._blame(Rule.WITHOUT_ID, f"{reader}: {event.type} {event.data}")

    def _judge_end(self, reader: str, connections: Sequence[Connection]) -> None:
        events = [event for connection in connections for event in connection.events]
        ends = [place for place, event in enumerate(events) if event.is_end]
        last = connections[-1]
        if len(ends) > 1:
            self._blame(Rule.TWO_ENDS, f"{reader}: {[events[place].data for place in ends]}")
        if ends and any(not event.is_end for event in events[ends[0] + 1 :]):
            self._blame(Rule.AFTER_THE_END, f"{reader}: {[event.type for event in events[ends[0] :]]}")
        for refused in (
            each for each in connections if each.ending == "refused" and each.status != _NOTHING_TO_WAIT_FOR
        ):
            self._judge_code(f"{reader}: refused", refused.code or "", refused.status, is_final=refused is last)
        is_known = any(connection.job_id for connection in connections)  # otherwise nobody knows whether there is a job
        if is_known and not ends and last.ending in ("ended", "cut"):
            self._blame(Rule.UNENDED, f"{reader}: {last.ending} after {[event.type for event in events[-3:]]}")
        if ends and events[ends[0]].type == "error":
            self._judge_code(reader, _code(events[ends[0]]))

    def _judge_code(self, where: str, code: str, status: int | None = None, *, is_final: bool = True) -> None:
        if code not in self._documented or status not in (None, self._documented[code]):
            self._blame(Rule.UNDOCUMENTED, f"{where}: {code} with status {status}")
        if is_final and code not in self._excused:
            self._blame(Rule.FAILED, f"{where}: {code}")

    def _judge_belonging(self, connection: Connection) -> None:
        for event in connection.events:
            strangers = set(MARK.findall(event.data)) - {self._job.mark}
            said_id = event.json.get("job_id", connection.job_id)
            if strangers or said_id != connection.job_id:
                self._blame(Rule.CROSSED, f"{connection.reader}, event {event.id}: {strangers or said_id}")

    def _common_log(self) -> list[SeenEvent]:
        """Return what all readers together were told, each event once."""
        log: dict[int, SeenEvent] = {}
        for reader, connections in self._job.readers.items():
            for event in (event for connection in connections for event in connection.events if event.id):
                known = log.setdefault(event.id or 0, event)
                if (known.type, known.data) != (event.type, event.data):
                    self._blame(Rule.UNEQUAL, f"{reader}, event {event.id}: {known.data} and {event.data}")
        events = [log[id_] for id_ in sorted(log)]
        if len({event.data for event in events if event.is_end}) > 1:
            self._blame(Rule.TWO_ENDS, f"in the log: {[event.data for event in events if event.is_end]}")
        return events

    def _judge_log(self, log: Sequence[SeenEvent]) -> None:
        """See that each part of the text, between one takeover and the next, is what one generation sent."""
        parts = list(_parts(log))
        unused = list(self._sent)
        kept, kept_chunks = "", 0  # what the client has of the answer before this part
        for place, part in enumerate(parts):
            if part.mode == "restarted":
                kept, kept_chunks = "", 0
            elif part.mode == "started" and kept:
                self._blame(Rule.TEXT, f"a second start after {kept!r}")
            is_whole = place == len(parts) - 1 and part.end is not None and part.end.type == "chunk"
            if part.text or is_whole:
                generation = self._texts.find(part.text, unused, kept=kept, is_whole=is_whole)
                if generation is not None:
                    unused.remove(generation)
                    if is_whole and part.end is not None:
                        self._judge_usage(part.end, kept_chunks + len(generation.sent))
            kept, kept_chunks = kept + part.text, kept_chunks + part.chunks

    def _judge_usage(self, end: SeenEvent, tokens: int) -> None:
        if (counted := end.json["usage"]["completion_tokens"]) != tokens:
            self._blame(Rule.MISCOUNTED, f"{counted} instead of {tokens}")

    def _judge_answer(self, answer: WholeAnswer, *, is_final: bool) -> None:
        if answer.status is None:
            if answer.has_hung:
                self._blame(Rule.UNENDED, "whole answer")
            return
        if strangers := set(MARK.findall(answer.body)) - {self._job.mark}:
            self._blame(Rule.CROSSED, f"in a whole answer: {strangers}")
        said = msgspec.json.decode(answer.body)
        if answer.status != 200:
            self._judge_code("whole answer", said["error"]["code"], answer.status, is_final=is_final)
            return
        if [chunk["done"] for chunk in said] != [False] * (len(said) - 1) + [True]:
            self._blame(Rule.TWO_ENDS, f"in a whole answer: {[chunk['done'] for chunk in said]}")
        self._texts.judge_whole("".join(chunk["content"] for chunk in said), said[-1]["usage"])

    def _judge_kept(self, kept: KeptJob, *, is_final: bool) -> None:
        """See that an accepted job came to its end, and with the whole answer if it completed."""
        if kept.status is None:
            return
        if kept.status != _ACCEPTED:
            self._judge_code("acceptance", kept.code or "", kept.status, is_final=is_final)
        elif kept.ended_as is None:
            self._blame(Rule.LOST, f"{kept.job_id}: {kept.code}")
        elif kept.ended_as in ("queued", "running"):
            self._blame(Rule.UNENDED, f"accepted job {kept.job_id}")
        elif kept.ended_as != "completed":
            self._judge_code("accepted job", kept.code or "")
        elif kept.content is None or kept.usage is None:
            self._blame(Rule.LOST, f"the answer of {kept.job_id}")
        else:
            if strangers := set(MARK.findall(kept.content)) - {self._job.mark}:
                self._blame(Rule.CROSSED, f"in an accepted job: {strangers}")
            self._texts.judge_whole(kept.content, kept.usage)


class _Part(Struct):
    """What came between one takeover and the next."""

    mode: str  # started, restarted or continued
    text: str = ""
    chunks: int = 0
    end: SeenEvent | None = None


def _parts(log: Sequence[SeenEvent]) -> Iterator[_Part]:
    part = _Part("started")
    for event in log:
        match event.type:
            case "started" | "resumed":
                yield part
                part = _Part(event.json.get("mode", "started"))
            case "chunk":
                content = event.json["content"]
                part.text += content
                part.chunks += bool(content)
            case _:
                pass
        if event.is_end:
            part.end = event
    yield part


def _missing(events: Sequence[SeenEvent], began_after: int) -> list[int]:
    """Return the ids that are left out, but for those that a log left out which replaces one that Redis has lost."""
    missing: list[int] = []
    last_id = began_after
    for event in sorted(events, key=lambda event: event.id or 0):
        id_ = event.id or 0
        if id_ > last_id + 1 and not _begins_anew(event):
            missing += range(last_id + 1, id_)
        last_id = max(last_id, id_)
    return missing


def _begins_anew(event: SeenEvent) -> bool:
    """Tell whether an event is the first one of a log that replaces a lost one: it makes void what was before."""
    has_number = event.id is not None and event.id % _LOGS_BEGIN_AFTER == 1
    return has_number and (event.type == "error" or event.json.get("mode") == "restarted")


def _code(event: SeenEvent) -> str:
    return event.json["error"]["code"]


def main() -> int:
    """Judge the run in the directory that is named, print what is wrong, and return the exit code."""
    violations = check(Path(sys.argv[1]), excused=sys.argv[2:])
    sys.stdout.writelines(f"{violation}\n" for violation in violations)
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
