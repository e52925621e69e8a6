"""Silence is judged by what Ollama does, not by what this process does."""

import asyncio
import time
from collections.abc import Callable, Coroutine

from worker.silence_watch import GRACE_S, SilenceWatch


async def test_a_read_that_waits_too_long_is_given_up() -> None:
    given_up = asyncio.Event()
    watch = SilenceWatch(_setter(given_up))
    watch.wait_until(asyncio.get_running_loop().time() + 60)
    watch.wait_until(asyncio.get_running_loop().time() + 0.01)
    await given_up.wait()
    assert watch.has_given_up


async def test_what_arrived_while_this_process_stood_still_is_read_first() -> None:
    loop = asyncio.get_running_loop()
    given_up = asyncio.Event()
    watch = SilenceWatch(_setter(given_up))
    watch.wait_until(loop.time() + 0.01)
    loop.call_later(0.011, watch.rest)  # the read: due in the same turn of the loop as the timer, and after it
    time.sleep(0.05)  # noqa: ASYNC251  the process stands still
    later = asyncio.Event()
    loop.call_later(2 * GRACE_S, later.set)
    await later.wait()
    assert not watch.has_given_up
    watch.wait_until(loop.time())
    await given_up.wait()


async def test_a_stopped_watch_never_rings() -> None:
    loop = asyncio.get_running_loop()
    given_up = asyncio.Event()
    watch = SilenceWatch(_setter(given_up))
    watch.wait_until(loop.time())
    watch.stop()
    later = asyncio.Event()
    loop.call_later(2 * GRACE_S, later.set)
    await later.wait()
    assert not given_up.is_set()


def _setter(event: asyncio.Event) -> Callable[[], Coroutine[None, None, None]]:
    async def give_up() -> None:
        event.set()

    return give_up
