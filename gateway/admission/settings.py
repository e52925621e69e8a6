"""How much is taken in, and how long it may take."""

from typing import Annotated

from msgspec import Meta, Struct

from shared.settings import Millis, Seconds


class QueueSettings(Struct, frozen=True):
    """The queue's bounds and deadlines."""

    queue_max_depth: Annotated[
        int, Meta(ge=1, le=10_000_000, description="Most jobs that may wait per model.", examples=["1000"])
    ] = 1000
    queue_without_workers: Annotated[
        bool, Meta(description="Whether jobs may wait for a known model that no live worker has.", examples=["true"])
    ] = True
    queue_timeout_ms: Annotated[
        Millis, Meta(description="Longest wait for a worker; a request may ask for less.", examples=["600000"])
    ] = 600_000
    job_timeout_ms: Annotated[
        Millis, Meta(description="Longest run of a job; a request may ask for less.", examples=["600000"])
    ] = 600_000
    disconnect_grace_secs: Annotated[
        Seconds, Meta(description="A stream's job is cancelled this long after its last reader.", examples=["15"])
    ] = 15

    job_retention_days: Annotated[
        int,
        Meta(ge=1, le=3650, description="How long the answers of durable jobs are kept.", examples=["7"]),
    ] = 7

    @property
    def longest_job_s(self) -> int:
        """How long a job may live in all: three attempts, each of which may wait and run for as long as one may."""
        return 3 * (self.queue_timeout_ms + self.job_timeout_ms) // 1000


class RateLimitSettings(Struct, frozen=True):
    """What a user and an address may take."""

    rate_limit_enabled: Annotated[bool, Meta(description="Whether anything is limited at all.", examples=["true"])] = (
        True
    )
    rate_limit_requests_per_minute: Annotated[
        int, Meta(ge=1, le=60_000_000, description="Requests per minute and user.", examples=["60"])
    ] = 60
    rate_limit_burst: Annotated[
        Annotated[int, Meta(ge=1, le=60_000_000)] | None,
        Meta(description="Requests at once; unset: as many as per minute.", examples=["60"]),
    ] = None
    rate_limit_tokens_per_minute: Annotated[
        int, Meta(ge=1, le=60_000_000, description="Tokens per minute and user.", examples=["100000"])
    ] = 100_000
    rate_limit_concurrent_jobs: Annotated[
        int, Meta(ge=1, le=1_000_000, description="Jobs of a user that wait or run.", examples=["100"])
    ] = 100
    rate_limit_open_streams: Annotated[
        int, Meta(ge=1, le=1_000_000, description="Open streams of a user.", examples=["100"])
    ] = 100
    tokens_reserve_default: Annotated[
        int,
        Meta(
            ge=0,
            le=60_000_000,
            description="Tokens taken to be needed by an answer without num_predict, until it has ended.",
            examples=["1024"],
        ),
    ] = 1024
    rate_limit_address_requests_per_minute: Annotated[
        int, Meta(ge=1, le=60_000_000, description="Requests per minute and address.", examples=["600"])
    ] = 600
    rate_limit_auth_requests_per_minute: Annotated[
        int,
        Meta(ge=1, le=60_000_000, description="Of these, with a password or a refresh token.", examples=["60"]),
    ] = 60
