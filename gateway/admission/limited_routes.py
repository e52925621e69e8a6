"""Limits the rate of requests that do not enter the queue; those that do are limited as they enter (admit.py).

Middleware of a router or a route: it spends before the handler runs and tells what is left in the answer's headers.
"""

from typing import Any

from litestar import Request
from litestar.types import ASGIApp, Receive, Scope, Send

from gateway.admission.open_streams import OpenStreams
from gateway.admission.policy import LimitPolicy
from gateway.admission.rate_limit import RateLimiter
from gateway.admission.rate_limit_headers import rate_limit_headers
from gateway.client_address import ClientAddress
from gateway.error_dialects import dialect_of
from gateway.response_headers import add_response_headers
from shared.demand import Demand
from shared.ids import new_id


class LimitByAddress:
    """Middleware of routes that anybody may call."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Spend one request of the address's limit, then pass it on."""
        await charge_address(scope)
        await self._app(scope, receive, send)


class LimitAttempts:
    """Middleware of routes that take a password or a refresh token."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Spend one request of the address's limit for these, and of its limit for all, then pass it on."""
        policy: LimitPolicy = scope["litestar_app"].state.limit_policy
        await _meet(scope, Demand(requests=policy.of_attempt(_address(scope))))
        await self._app(scope, receive, send)


class LimitByUser:
    """Middleware of routes behind `gateway.principal.RequirePrincipal`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Spend one request of the user's limit and of the address's, then pass it on."""
        await charge_user(scope)
        await self._app(scope, receive, send)


class LimitStreams:
    """Middleware of routes behind `gateway.principal.RequirePrincipal` that answer with a stream."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Spend one request as `LimitByUser` does, and have the answer count as an open stream while it is sent."""
        state = scope["litestar_app"].state
        policy: LimitPolicy = state.limit_policy
        open_streams: OpenStreams = state.open_streams
        demand = policy.of_stream(scope["user"], _address(scope), stream_id=new_id())
        await _meet(scope, demand)
        with open_streams.sending(demand):
            await self._app(scope, receive, send)


async def charge_user(scope: Scope) -> None:
    """Spend one request of the limit of the user who makes it, and of the address's.

    Raises:
        RateLimitedError: One of them is used up.
        StoreUnavailableError: Redis is out of reach.

    """
    policy: LimitPolicy = scope["litestar_app"].state.limit_policy
    await _meet(scope, Demand(requests=policy.of_user(scope["user"], _address(scope))))


async def charge_address(scope: Scope) -> None:
    """Spend one request of the limit of the address that it comes from.

    Raises:
        RateLimitedError: The limit is used up.
        StoreUnavailableError: Redis is out of reach.

    """
    policy: LimitPolicy = scope["litestar_app"].state.limit_policy
    await _meet(scope, Demand(requests=policy.of_address(_address(scope))))


def _address(scope: Scope) -> str:
    client_address: ClientAddress = scope["litestar_app"].state.client_address
    return client_address.of(Request[Any, Any, Any](scope))


async def _meet(scope: Scope, demand: Demand) -> None:
    limiter: RateLimiter = scope["litestar_app"].state.rate_limiter
    as_openai = dialect_of(scope["path"]).has_openai_limits
    add_response_headers(scope, rate_limit_headers(await limiter.meet(demand), as_openai=as_openai))
