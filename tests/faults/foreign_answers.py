"""Judges answers in protocols that are not ours: whole and the model's own, or told as not whole."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

import msgspec

from tests.faults.rules import Blame, Rule
from tests.faults.sent_texts import SentTexts
from tests.faults.storyteller import MARK
from tests.faults.transcript import ForeignAnswer
from tests.surfaces import BY_NAME, Fault

_NEW_BEGINNING = "broke off and cannot go on"  # stands in the message where there is no code


class ForeignJudge:
    """Judges what came of one job.

    Args:
        mark: Of the job.
        texts: What the model sent for it.
        documented: The status of each code.
        excused: Codes with which it may end.
        blame: Is told what is wrong.

    """

    def __init__(
        self, mark: str, texts: SentTexts, documented: Mapping[str, int], excused: AbstractSet[str], blame: Blame
    ) -> None:
        self._mark = mark
        self._texts = texts
        self._documented = documented
        self._excused = excused
        self._blame = blame

    def judge(self, answer: ForeignAnswer, *, is_final: bool) -> None:
        """See that an answer in another protocol is whole, or told as one that is not, and all of it the model's."""
        if strangers := set(MARK.findall(answer.body)) - {self._mark}:
            self._blame(Rule.CROSSED, f"{answer.surface}: {strangers}")
        if answer.status is None:
            return
        if answer.status != 200:
            self._judge_refusal(answer, is_final=is_final)
            return
        reading = BY_NAME[answer.surface].reading()
        reading.feed(answer.body.encode())
        if answer.ending == "ended":
            reading.close()
        for fault in reading.faults:
            self._blame(Rule.MALFORMED, f"{answer.surface}: {fault}")
        if reading.is_complete:
            self._texts.judge_whole(reading.text, {"completion_tokens": reading.completion_tokens})
            return
        self._texts.judge_text(reading.text, is_whole=False)
        if reading.error is not None and not (reading.text and _tells_of_a_new_beginning(reading.error)):
            self._judge_fault(answer.surface, reading.error, None)

    def _judge_refusal(self, answer: ForeignAnswer, *, is_final: bool) -> None:
        said = msgspec.json.decode(answer.body)["error"]
        fault = Fault(said, None) if isinstance(said, str) else Fault(said["message"], said["code"])
        self._judge_fault(answer.surface, fault, answer.status, is_final=is_final)

    def _judge_fault(self, surface: str, fault: Fault, status: int | None, *, is_final: bool = True) -> None:
        """See that an error is documented, and one with which the job may end; Ollama's protocol tells no code."""
        statuses = {code: 400 if status == 422 else status for code, status in self._documented.items()}
        codes = [fault.code] if fault.code else [code for code in statuses if status in (None, statuses[code])]
        if not any(code in statuses and status in (None, statuses[code]) for code in codes):
            self._blame(Rule.UNDOCUMENTED, f"{surface}: {fault} with status {status}")
        if is_final and not self._excused & set(codes):
            self._blame(Rule.FAILED, f"{surface}: {fault}")


def _tells_of_a_new_beginning(fault: Fault) -> bool:
    """Tell whether an error says that what was shown is void; its client could not be told otherwise."""
    return fault.code == "worker_lost" if fault.code else _NEW_BEGINNING in fault.message
