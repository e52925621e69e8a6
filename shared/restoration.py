"""Puts a job back that Redis has lost while a worker has it in hand: its owner knows all of it.

What an owner knows is in its claim, and in what it has appended to the log since. A gateway that still has readers says
so again by itself (gateway/admission/attendance.py), and if none does, the job is cancelled like any that nobody reads.
"""

from collections.abc import Iterator, Sequence

from shared import redis_keys, scripts
from shared.idempotency import KEPT_MS
from shared.job_queue import LEASE_MS, Claim
from shared.jobs import encode_job
from shared.scripts import Command

READERS_RETURN_MS = 5_000  # gateways say whom they read every 1.5 s
END_MARGIN_MS = 10_000  # as a claim has it: the worker ends an overlong job itself
ENTRY_BYTES = 64 * 1024  # batches are joined up to here: an entry of its own costs about as much as 100 bytes


class Restoration:
    """The typed face of the restore script."""

    def __init__(self) -> None:
        self._script = scripts.read(
            "job_lists", "idempotency", "restore"
        )  # sent whole: a pipeline cannot send it again

    def command(self, claim: Claim, appended: Sequence[bytes]) -> Command:
        """Return the command that makes Redis have a job as its owner knows it.

        It answers with the number of entries of the log; 0: the job has another owner or has ended, and nothing is
        changed.

        Args:
            claim: The job in hand.
            appended: All batches of events that this owner has appended to the log, in order.

        """
        job, state = claim.job, claim.state
        lists = redis_keys.job_lists(job.user_id, job.api_key_id)
        keys = [
            redis_keys.JOB + job.id,
            redis_keys.PAYLOAD + job.id,
            redis_keys.LOG + job.id,
            redis_keys.WAITING + job.model,
            redis_keys.DELAYED + job.model,
            redis_keys.RUNNING + job.model,
            redis_keys.DEADLINES,
            redis_keys.ATTENDED,
            *lists,
            *([state[b"idempotency_key"].decode()] if b"idempotency_key" in state else ()),
        ]
        grace_ms = int(state[b"grace_ms"])
        arguments = [
            job.id,
            claim.epoch,
            LEASE_MS,
            job.timeout_ms - claim.ran_ms + END_MARGIN_MS,
            state[b"time_to_live_ms"],
            0 if grace_ms < 0 else grace_ms + READERS_RETURN_MS,
            encode_job(job),
            state[b"owner"],
            claim.last_seq,
            claim.last_event,
            state.get(b"fingerprint", b""),
            KEPT_MS,
            len(lists),
            len(state),
            *(part for field in state.items() for part in field),
            *(part for entry in _entries(claim.last_seq, appended) for part in entry),
        ]
        return ("EVAL", self._script, len(keys), *keys, *arguments)


def _entries(last_seq: int, appended: Sequence[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield last seq and events of the entries that hold these batches, the first of which comes after `last_seq`."""
    gathered: list[bytes] = []
    size = 0
    for events in appended:
        gathered.append(events)
        size += len(events)
        last_seq += events.count(b"\n") + 1
        if size >= ENTRY_BYTES:
            yield last_seq, b"\n".join(gathered)
            gathered, size = [], 0
    if gathered:
        yield last_seq, b"\n".join(gathered)
