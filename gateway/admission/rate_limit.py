"""Rate limits: how many requests and tokens a user, a key or an address may spend per minute.

Structure: one string per limit, `ds:limit:<scope>:<name>`, the time in µs at which the limit will be whole again
(shared/scripts/bucket.lua). Written by the spend script here, by admission (shared/job_queue.py) and by the ends of
jobs; expires a second after the limit is whole. In any window T at most burst + rate * T pass, by the clock of Redis.
"""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network

from msgspec import Struct
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.admission.concurrency import crowded
from shared import scripts
from shared.demand import NO_LIMITS, Demand, Limit
from shared.errors import RateLimitedError, StoreUnavailableError
from shared.verdicts import pairs

RETRY_WITHOUT_REDIS_S = 2.0
IPV6_CUSTOMER_BITS = 64  # a customer is given at least a /64 (RFC 6177), so one address of it identifies nobody


class LimitState(Struct, frozen=True):
    """How much of a limit there is after a request."""

    limit: Limit
    remaining: int
    reset_s: float  # until it is whole, if nobody spends; 0: it is

    @property
    def scope(self) -> str:
        """Whose limit it is."""
        return self.limit.scope

    @property
    def unit(self) -> str:
        """What is counted."""
        return self.limit.unit

    @property
    def per_minute(self) -> int:
        """The limit itself."""
        return self.limit.per_minute


class RateLimiter:
    """Spends from rate limits for requests that do not enter the queue; those that do are limited as they enter."""

    def __init__(self, redis: Redis) -> None:
        self._spend = scripts.load(redis, "bucket", "gcra", "demand", "spend")

    async def spend(self, *limits: Limit) -> tuple[LimitState, ...]:
        """Spend from all of the limits, or from none; see `meet`."""
        return await self.meet(Demand(requests=limits))

    async def meet(self, demand: Demand) -> tuple[LimitState, ...]:
        """Spend from all rates and open the stream, or nothing; one round trip, or no round trip without limits.

        Returns:
            The rates as they are now.

        Raises:
            RateLimitedError: One of them is used up; nothing was spent.
            ConcurrencyLimitedError: There are as many streams as there may be; nothing was spent.
            StoreUnavailableError: Redis is out of reach. Closed, because it may be so exactly under an attack.

        """
        if demand == NO_LIMITS:
            return ()
        try:
            reply = await self._spend(demand.keys, demand.arguments)
        except RedisError as error:
            raise StoreUnavailableError(
                "Limits cannot be checked just now.", retry_after_s=RETRY_WITHOUT_REDIS_S
            ) from error
        match reply:
            case [b"passed", figures]:
                return to_states(demand.requests, pairs(figures))
            case [b"limited", index, retry_after_us, figures]:
                raise refusal(to_states(demand.requests, pairs(figures)), index=index, retry_after_us=retry_after_us)
            case _:
                raise crowded(demand.streams[reply[1] - 1])


def to_states(limits: Sequence[Limit], figures: Sequence[tuple[int, int]]) -> tuple[LimitState, ...]:
    """Join limits with what a script says of each: what remains, and µs until it is whole."""
    return tuple(
        LimitState(limit=limit, remaining=remaining, reset_s=reset_us / 1e6)
        for limit, (remaining, reset_us) in zip(limits, figures, strict=True)
    )


def refusal(states: Sequence[LimitState], *, index: int, retry_after_us: int) -> RateLimitedError:
    """Return the error that tells of a limit that is used up, the one with this index, from 1."""
    state = states[index - 1]
    limit = state.limit
    return RateLimitedError(
        f"Too many {limit.unit} from this {limit.scope}: {limit.per_minute} per minute are allowed.",
        retry_after_s=retry_after_us / 1e6,
        scope=limit.scope,
        unit=limit.unit,
        per_minute=limit.per_minute,
        remaining=state.remaining,
        reset_s=state.reset_s,
        limits=states,
    )


@lru_cache(maxsize=4096)  # reading an address takes 5 µs, as much as all other limits of a request
def address_name(address: str) -> str:
    """Return the name under which an address is limited: an IPv4 address itself, of an IPv6 address its /64."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ip_network((parsed, IPV6_CUSTOMER_BITS), strict=False).network_address)
