"""Makes rows of jobs that have ended, with everything that a test does not care about filled in."""

from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec import structs

from shared.database.jobs import FinishedJob, created
from shared.ids import new_id
from shared.jobs import Job, JobKind, JobStatus
from shared.transcripts import Transcript, encode_transcript

NOW = datetime(2026, 11, 23, 12, 0, 0, 123_456, tzinfo=UTC)


def finished(user_id: str, **changes: Any) -> FinishedJob:  # noqa: ANN401
    """Return the row of an attached job of a user's."""
    row = FinishedJob(
        id=new_id(),
        user_id=user_id,
        kind=JobKind.CHAT,
        model="llama3.2:3b",
        status=JobStatus.COMPLETED,
        error_code=None,
        prompt_tokens=26,
        completion_tokens=298,
        queue_ms=3,
        first_token_ms=120,
        total_ms=5043,
        attempts=1,
        worker="gpu-1",
        request_id="0d3f",
        created_at=NOW,
        finished_at=NOW + timedelta(seconds=5),
        epoch=7,
        is_durable=False,
    )
    return structs.replace(row, **changes)


def ended(job: Job, content: str = "Once.", *, epoch: int = 1, **changes: Any) -> FinishedJob:  # noqa: ANN401
    """Return the row of a durable job that has answered."""
    row = finished(
        job.user_id,
        id=job.id,
        kind=job.kind,
        model=job.model,
        created_at=created(job.id),
        finished_at=created(job.id),
        epoch=epoch,
        is_durable=True,
        answer=encode_transcript(Transcript(content=content, thinking="Hm.")),
    )
    return structs.replace(row, **changes)
