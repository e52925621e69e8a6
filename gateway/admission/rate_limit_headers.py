"""Tells clients of their limits in headers, after draft-ietf-httpapi-ratelimit-headers-10.

`RateLimit-Policy: "user";q=60;w=60` says that 60 requests pass per 60 s, `RateLimit: "user";r=50;t=10` that 50 would
pass at once now, and that the limit is whole again in 10 s; one item for each limit that the request spent from.
"""

import math
from collections.abc import Sequence

from gateway.admission.rate_limit import LimitState
from shared.errors import RateLimitedError

WINDOW_S = 60


def rate_limit_headers(states: Sequence[LimitState]) -> dict[str, str]:
    """Return the headers of an answer whose request spent from these limits; none where nothing is limited."""
    if not states:
        return {}
    return {
        "RateLimit-Policy": ", ".join(_policy(state.limit.scope, state.limit.per_minute) for state in states),
        "RateLimit": ", ".join(_rest(state.limit.scope, state.remaining, state.reset_s) for state in states),
    }


def refusal_headers(error: RateLimitedError) -> dict[str, str]:
    """Return the headers of a 429; they name the limit that is used up."""
    return {
        "RateLimit-Policy": _policy(error.scope, error.per_minute),
        "RateLimit": _rest(error.scope, error.remaining, error.reset_s),
    }


def _policy(scope: str, per_minute: int) -> str:
    return f'"{scope}";q={per_minute};w={WINDOW_S}'


def _rest(scope: str, remaining: int, reset_s: float) -> str:
    return f'"{scope}";r={remaining};t={math.ceil(reset_s)}'
