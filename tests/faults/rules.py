"""What is promised to clients, and how it is noted that a promise was broken."""

from collections.abc import Callable
from enum import StrEnum

from msgspec import Struct


class Rule(StrEnum):
    """What is promised, said as what went wrong."""

    MISSING = "an event is missing"
    DUPLICATED = "an event came twice"
    DISORDERED = "events came out of order"
    UNEQUAL = "two readers were told different things under one id"
    WITHOUT_ID = "an event that can be resumed from has no id"
    LOST = "an accepted job is not to be found"
    UNENDED = "there is no terminal event"
    TWO_ENDS = "there is more than one terminal event"
    AFTER_THE_END = "something came after the terminal event"
    CROSSED = "something of another job came"
    TEXT = "the text is not what the model sent"
    FALSE_SUCCESS = "an answer is told as whole that the model did not end"
    WRONG_PREFILL = "the model was asked to go on from another text than the client has"
    MISCOUNTED = "the tokens are miscounted"
    UNDOCUMENTED = "an error is not in the documented table"
    FAILED = "a job failed that had no reason to"
    MALFORMED = "what came is not as its protocol has it"


class Violation(Struct, frozen=True):
    """A promise that was broken."""

    rule: Rule
    mark: str
    detail: str

    def __str__(self) -> str:
        return f"{self.mark}: {self.rule}: {self.detail}"


Blame = Callable[[Rule, str], None]
"""Notes that a rule was broken, with the details."""
