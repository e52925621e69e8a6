"""Makes rows of jobs that have ended, with everything that a test does not care about filled in."""

from typing import Any

from msgspec import structs

from shared.database.jobs import FinishedJob, created
from shared.jobs import Job, JobStatus
from shared.transcripts import Transcript, encode_transcript


def ended(job: Job, content: str = "Once.", *, epoch: int = 1, **changes: Any) -> FinishedJob:  # noqa: ANN401
    """Return the row of a durable job that has answered."""
    row = FinishedJob(
        id=job.id,
        user_id=job.user_id,
        kind=job.kind,
        model=job.model,
        status=JobStatus.COMPLETED,
        error_code=None,
        prompt_tokens=1,
        completion_tokens=1,
        queue_ms=1,
        first_token_ms=1,
        total_ms=1,
        attempts=1,
        worker="gpu-1",
        request_id="r",
        created_at=created(job.id),
        finished_at=created(job.id),
        epoch=epoch,
        is_durable=True,
        answer=encode_transcript(Transcript(content=content, thinking="Hm.")),
    )
    return structs.replace(row, **changes)
