"""Which limits a request has to pass."""

from typing import Literal, Protocol

from gateway.admission.limits import Limits
from gateway.admission.rate_limit import address_name
from gateway.admission.settings import RateLimitSettings
from gateway.admission.token_estimate import TokenEstimate
from shared.demand import NO_LIMITS, Concurrency, Demand, Limit
from shared.errors import ExceedsTokenLimitError


class LimitedKey(Protocol):
    """An API key that a request was made with."""

    @property
    def id(self) -> str:
        """Under which it is limited."""
        ...

    @property
    def limits(self) -> Limits:
        """Its own, beside its owner's."""
        ...


class LimitedUser(Protocol):
    """Who makes a request."""

    @property
    def user_id(self) -> str:
        """Under which they are limited."""
        ...

    @property
    def limits(self) -> Limits:
        """The user's own, whatever their credential."""
        ...

    @property
    def key(self) -> LimitedKey | None:
        """With which API key; None: with none."""
        ...


class LimitPolicy:
    """Turns who asks, and for what, into the limits that a request has to pass."""

    def __init__(self, settings: RateLimitSettings) -> None:
        self._settings = settings

    def of_address(self, address: str) -> tuple[Limit, ...]:
        """Return the rates of somebody of whom only the address is known."""
        if not self._settings.rate_limit_enabled:
            return ()
        per_minute = self._settings.rate_limit_address_requests_per_minute
        return (Limit(scope="address", name=address_name(address), per_minute=per_minute, burst=per_minute),)

    def of_attempt(self, address: str) -> tuple[Limit, ...]:
        """Return the limits of somebody who has to prove who they are, first the one for that."""
        if not self._settings.rate_limit_enabled:
            return ()
        per_minute = self._settings.rate_limit_auth_requests_per_minute
        limit = Limit(scope="auth", name=address_name(address), per_minute=per_minute, burst=per_minute)
        return (limit, *self.of_address(address))

    def of_user(self, user: LimitedUser, address: str) -> tuple[Limit, ...]:
        """Return the rates of somebody's requests, first their own."""
        if not self._settings.rate_limit_enabled:
            return ()
        return (
            *(
                Limit(scope=scope, name=name, per_minute=limits.requests_per_minute, burst=self._burst(scope, limits))
                for scope, name, limits in _parties(user)
                if limits.requests_per_minute is not None
            ),
            *self.of_address(address),
        )

    def of_stream(self, user: LimitedUser, address: str, *, stream_id: str) -> Demand:
        """Return what a request has to pass that opens a stream of what is there already."""
        if not self._settings.rate_limit_enabled:
            return NO_LIMITS
        return Demand(requests=self.of_user(user, address), streams=_concurrency(user, "streams"), stream_id=stream_id)

    def of_job(self, user: LimitedUser, address: str, *, estimate: TokenEstimate, stream_id: str | None) -> Demand:
        """Return what a request has to pass that brings a job.

        Args:
            user: Whose it will be.
            address: Where the request comes from.
            estimate: What it is taken to need.
            stream_id: Of the stream that is answered with; None: it is not answered with one.

        Raises:
            ExceedsTokenLimitError: It needs more than all tokens of a minute.

        """
        if not self._settings.rate_limit_enabled:
            return Demand(prompt_tokens=estimate.prompt)
        return Demand(
            requests=self.of_user(user, address),
            tokens=self._tokens(user, estimate),
            prompt_tokens=estimate.prompt,
            jobs=_concurrency(user, "jobs"),
            streams=_concurrency(user, "streams") if stream_id is not None else (),
            stream_id=stream_id or "",
        )

    def _tokens(self, user: LimitedUser, estimate: TokenEstimate) -> tuple[Limit, ...]:
        buckets = [
            (scope, name, limits.tokens_per_minute)
            for scope, name, limits in _parties(user)
            if limits.tokens_per_minute is not None
        ]
        if not buckets:
            return ()
        smallest = min(per_minute for _, _, per_minute in buckets)
        reserved = estimate.reserved(answer_default=self._settings.tokens_reserve_default, most=smallest)
        if reserved > smallest:
            raise ExceedsTokenLimitError(
                f"The request needs about {reserved} tokens, and {smallest} per minute are allowed.",
                param=estimate.prompt_param if estimate.prompt > smallest else estimate.answer_param,
            )
        return tuple(
            Limit(scope=scope, name=name, unit="tokens", per_minute=per_minute, burst=per_minute, cost=max(1, reserved))
            for scope, name, per_minute in buckets
        )

    def _burst(self, scope: str, limits: Limits) -> int:
        """Return how many requests pass at once: what the settings say goes with the limit that they say."""
        settings, per_minute = self._settings, limits.requests_per_minute or 0
        if scope == "user" and per_minute == settings.rate_limit_requests_per_minute:
            return settings.rate_limit_burst or per_minute
        return per_minute


def _parties(user: LimitedUser) -> tuple[tuple[Literal["user", "key"], str, Limits], ...]:
    own = ("user", user.user_id, user.limits)
    return (own,) if user.key is None else (own, ("key", user.key.id, user.key.limits))


def _concurrency(user: LimitedUser, unit: Literal["jobs", "streams"]) -> tuple[Concurrency, ...]:
    found: list[Concurrency] = []
    for scope, name, limits in _parties(user):
        most = limits.concurrent_jobs if unit == "jobs" else limits.open_streams
        if most is not None:
            found.append(Concurrency(scope, name, unit, most))
    return tuple(found)
