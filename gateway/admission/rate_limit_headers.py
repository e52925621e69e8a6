"""Tells clients of their limits in headers, after draft-ietf-httpapi-ratelimit-headers-10.

`RateLimit-Policy: "user";q=60;w=60` says that 60 requests pass per 60 s, `RateLimit: "user";r=50;t=10` that 50 would
pass at once now, and that the limit is whole again in 10 s; one item for each limit that the request spent from.
Tokens are a limit of their own, `"user-tokens";q=100000;w=60;qu="tokens"`. How many jobs or streams somebody may have
at once is told when that refuses: `"user-jobs";q=100;qu="concurrent-requests"`.
"""

import math
from collections.abc import Sequence

from shared.errors import ConcurrencyLimitedError, LimitLeft, QueueFullError, RateLimitedError, TryLaterError

WINDOW_S = 60


def rate_limit_headers(limits: Sequence[LimitLeft], *, as_openai: bool = False) -> dict[str, str]:
    """Return the headers of an answer whose request spent from these limits; none where nothing is limited.

    Args:
        limits: As they are now.
        as_openai: Whether they are told as OpenAI does, too.

    """
    if not limits:
        return {}
    return {
        "RateLimit-Policy": ", ".join(_policy(limit) for limit in limits),
        "RateLimit": ", ".join(f"{_name(limit)};r={limit.remaining};t={math.ceil(limit.reset_s)}" for limit in limits),
        **(_openai_headers(limits) if as_openai else {}),
    }


def refusal_headers(error: TryLaterError, *, as_openai: bool = False) -> dict[str, str]:
    """Return the headers of a refusal: those of all limits that the request would have spent from."""
    match error:
        case RateLimitedError() | QueueFullError():
            return rate_limit_headers(error.limits, as_openai=as_openai)
        case ConcurrencyLimitedError():
            name = f'"{error.scope}-{error.unit}"'
            return {"RateLimit-Policy": f'{name};q={error.most};qu="concurrent-requests"', "RateLimit": f"{name};r=0"}
        case _:
            return {}


def _openai_headers(limits: Sequence[LimitLeft]) -> dict[str, str]:
    """Return `x-ratelimit-{limit,remaining,reset}-{requests,tokens}` of the limits of which least is left."""
    headers: dict[str, str] = {}
    for unit in ("requests", "tokens"):
        if tightest := min((limit for limit in limits if limit.unit == unit), key=_left, default=None):
            headers[f"x-ratelimit-limit-{unit}"] = str(tightest.per_minute)
            headers[f"x-ratelimit-remaining-{unit}"] = str(tightest.remaining)
            headers[f"x-ratelimit-reset-{unit}"] = f"{math.ceil(tightest.reset_s)}s"
    return headers


def _left(limit: LimitLeft) -> int:
    return limit.remaining


def _name(limit: LimitLeft) -> str:
    return f'"{limit.scope}"' if limit.unit == "requests" else f'"{limit.scope}-{limit.unit}"'


def _policy(limit: LimitLeft) -> str:
    unit = "" if limit.unit == "requests" else f';qu="{limit.unit}"'
    return f"{_name(limit)};q={limit.per_minute};w={WINDOW_S}{unit}"
