"""Rate limits: what a user, a key or an address may spend per minute.

Structure: one string per limit, `ds:limit:<scope>:<name>`, the time in µs at which the limit will be whole again
(shared/scripts/gcra.lua). Written by the spend script here and by the admit script (shared/job_queue.py); expires a
second after the limit is whole. In any window T at most burst + rate * T pass, by the clock of Redis.
"""

from ipaddress import IPv6Address, ip_address, ip_network

from msgspec import Struct
from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared import redis_keys, scripts
from shared.errors import RateLimitedError, StoreUnavailableError

MINUTE_US = 60_000_000
RETRY_WITHOUT_REDIS_S = 2.0
IPV6_CUSTOMER_BITS = 64  # a customer is given at least a /64 (RFC 6177), so one address of it identifies nobody


class Limit(Struct, frozen=True):
    """One rate limit of one party, and what a request costs of it."""

    scope: str  # whose limits these are: `user`, `key`, `address`
    name: str  # of the party; becomes part of a key
    per_minute: int  # 1 to MINUTE_US; the interval between two is rounded up to whole µs
    burst: int  # what passes at once when nothing was spent for long
    cost: int = 1  # at most `burst`: more could never pass

    def __post_init__(self) -> None:
        if not 1 <= self.per_minute <= MINUTE_US or not 1 <= self.cost <= self.burst:
            raise ValueError(f"no such limit: {self}")

    @property
    def key(self) -> str:
        """The Redis key of its state."""
        return redis_keys.limit(self.scope, self.name)

    @property
    def arguments(self) -> tuple[int, int, int]:
        """Emission interval in µs, burst, cost: as shared/scripts/gcra.lua takes them."""
        return -(-MINUTE_US // self.per_minute), self.burst, self.cost


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
    def per_minute(self) -> int:
        """The limit itself."""
        return self.limit.per_minute


class RateLimiter:
    """Spends from rate limits for requests that do not enter the queue; those that do are limited as they enter."""

    def __init__(self, redis: Redis) -> None:
        self._spend = scripts.load(redis, "gcra", "spend")

    async def spend(self, *limits: Limit) -> tuple[LimitState, ...]:
        """Spend from all of the limits, or from none; one round trip, or no round trip without limits.

        Returns:
            The limits as they are now.

        Raises:
            RateLimitedError: One of them is used up; nothing was spent.
            StoreUnavailableError: Redis is out of reach. Closed, because it may be so exactly under an attack.

        """
        if not limits:
            return ()
        arguments = [number for limit in limits for number in limit.arguments]
        try:
            refused_by, retry_after_us, figures = await self._spend([limit.key for limit in limits], arguments)
        except RedisError as error:
            raise StoreUnavailableError(
                "Rate limits cannot be checked just now.", retry_after_s=RETRY_WITHOUT_REDIS_S
            ) from error
        states = to_states(limits, list(zip(figures[::2], figures[1::2], strict=True)))
        if refused_by:
            raise refusal(states[refused_by - 1], retry_after_us=retry_after_us)
        return states


def to_states(limits: tuple[Limit, ...], figures: list[tuple[int, int]]) -> tuple[LimitState, ...]:
    """Join limits with what a script says of each: what remains, and µs until it is whole."""
    return tuple(
        LimitState(limit=limit, remaining=remaining, reset_s=reset_us / 1e6)
        for limit, (remaining, reset_us) in zip(limits, figures, strict=True)
    )


def refusal(state: LimitState, *, retry_after_us: int) -> RateLimitedError:
    """Return the error that tells of a limit that is used up."""
    limit = state.limit
    return RateLimitedError(
        f"Too many requests from this {limit.scope}: {limit.per_minute} per minute are allowed.",
        retry_after_s=retry_after_us / 1e6,
        scope=limit.scope,
        per_minute=limit.per_minute,
        remaining=state.remaining,
        reset_s=state.reset_s,
    )


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
