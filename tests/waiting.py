"""Waits for what a test needs to be true, instead of sleeping and hoping."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, cast, overload

import pytest

T = TypeVar("T")

_HANG_S = 20.0  # a limit for hanging, not an expectation
_INTERVAL_S = 0.02


@overload
async def wait_until(predicate: Callable[[], Awaitable[T]], *, description: str, timeout_s: float = _HANG_S) -> T: ...
@overload
async def wait_until(predicate: Callable[[], T], *, description: str, timeout_s: float = _HANG_S) -> T: ...
async def wait_until(predicate: Callable[[], T | Awaitable[T]], *, description: str, timeout_s: float = _HANG_S) -> T:
    """Call `predicate`, a function or a coroutine function, until it returns something true, and return that.

    When that takes longer than `timeout_s` the test fails and names `description`: `the worker holds the job`.
    """
    give_up_at = time.monotonic() + timeout_s
    while not (value := await _value_of(predicate)):
        if time.monotonic() > give_up_at:
            pytest.fail(f"waited {timeout_s:g} s in vain until {description}; the last answer was {value!r}")
        await asyncio.sleep(_INTERVAL_S)
    return value


async def _value_of(predicate: Callable[[], T | Awaitable[T]]) -> T:
    answer = predicate()
    return await answer if isinstance(answer, Awaitable) else cast("T", answer)
