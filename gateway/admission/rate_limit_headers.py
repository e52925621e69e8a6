"""Tells clients of their limits in headers, after draft-ietf-httpapi-ratelimit-headers-10.

`RateLimit-Policy: "user";q=60;w=60` says that 60 requests pass per 60 s, `RateLimit: "user";r=50;t=10` that 50 would
pass at once now, and that the limit is whole again in 10 s; one item for each limit that the request spent from.
"""

import math
from collections.abc import Sequence

from shared.errors import LimitLeft, QueueFullError, RateLimitedError, TryLaterError

WINDOW_S = 60


def rate_limit_headers(limits: Sequence[LimitLeft]) -> dict[str, str]:
    """Return the headers of an answer whose request spent from these limits; none where nothing is limited."""
    if not limits:
        return {}
    return {
        "RateLimit-Policy": ", ".join(f'"{limit.scope}";q={limit.per_minute};w={WINDOW_S}' for limit in limits),
        "RateLimit": ", ".join(f'"{limit.scope}";r={limit.remaining};t={math.ceil(limit.reset_s)}' for limit in limits),
    }


def refusal_headers(error: TryLaterError) -> dict[str, str]:
    """Return the headers of a refusal: of a 429 they name the limit that is used up, of a full queue all of them."""
    match error:
        case RateLimitedError():
            return rate_limit_headers([error])
        case QueueFullError():
            return rate_limit_headers(error.limits)
        case _:
            return {}
