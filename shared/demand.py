"""What a request asks of the limits of those who send it, as the scripts take it (shared/scripts/demand.lua).

Structures: `ds:limit:<scope>:<name>`, a rate (shared/scripts/bucket.lua); the lists of jobs of a user and of an API key
(shared/scripts/job_lists.lua), of which those that wait or run are counted; and `ds:streams:<scope>:<name>`, a sorted
set of the ids of open streams by until when they are taken to be open (ms), written by admission and renewed by the
gateway that sends them (gateway/admission/open_streams.py): a gateway that dies leaves them open for STREAM_LEASE_MS.
"""

from typing import Any, Literal

from msgspec import Struct

from shared import redis_keys

MINUTE_US = 60_000_000
STREAM_LEASE_MS = 10_000


class Limit(Struct, frozen=True):
    """One rate limit of one party, and what a request costs of it."""

    scope: str  # whose limit it is: `user`, `key`, `address`
    name: str  # of the party; becomes part of a key
    per_minute: int  # 1 to MINUTE_US; the interval between two is rounded up to whole µs
    burst: int  # what passes at once when nothing was spent for long
    cost: int = 1  # at most `burst`: more could never pass
    unit: Literal["requests", "tokens"] = "requests"

    def __post_init__(self) -> None:
        if not 1 <= self.per_minute <= MINUTE_US or not 1 <= self.cost <= self.burst:
            raise ValueError(f"no such limit: {self}")

    @property
    def key(self) -> str:
        """The Redis key of its state."""
        return redis_keys.limit(self.scope if self.unit == "requests" else f"{self.scope}-{self.unit}", self.name)

    @property
    def arguments(self) -> tuple[int, int, int]:
        """Emission interval in µs, burst, cost: as shared/scripts/gcra.lua takes them."""
        return -(-MINUTE_US // self.per_minute), self.burst, self.cost


class Concurrency(Struct, frozen=True):
    """How many jobs or streams one party may have at once."""

    scope: Literal["user", "key"]
    name: str  # of the party; becomes part of a key
    unit: Literal["jobs", "streams"]
    most: int

    @property
    def key(self) -> str:
        """The Redis key of those they have."""
        if self.unit == "streams":
            return redis_keys.streams(self.scope, self.name)
        return (redis_keys.JOBS if self.scope == "user" else redis_keys.KEY_JOBS) + self.name


class Demand(Struct, frozen=True):
    """All limits that a request has to pass; by default none."""

    requests: tuple[Limit, ...] = ()
    tokens: tuple[Limit, ...] = ()  # each costs the same estimate, until what the job used is known
    prompt_tokens: int = 0  # how much of that estimate is the prompt
    jobs: tuple[Concurrency, ...] = ()  # there must be room for one more
    streams: tuple[Concurrency, ...] = ()  # as well
    stream_id: str = ""  # of the stream that is to be opened, if that is limited

    @property
    def keys(self) -> list[str]:
        """The KEYS of the scripts."""
        return [limit.key for limit in (*self.requests, *self.tokens, *self.jobs, *self.streams)]

    @property
    def arguments(self) -> list[Any]:
        """The ARGV of the scripts."""
        return [
            len(self.requests),
            len(self.tokens),
            len(self.jobs),
            len(self.streams),
            self.prompt_tokens,
            self.stream_id,
            STREAM_LEASE_MS,
            *(number for limit in (*self.requests, *self.tokens) for number in limit.arguments),
            *(limit.most for limit in (*self.jobs, *self.streams)),
        ]


NO_LIMITS = Demand()
