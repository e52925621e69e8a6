"""Runs scripts for many callers through one connection: what is asked while an answer is awaited goes out together.

A round trip costs a process more, in system calls and bookkeeping, than a script costs Redis; under load several share
one (docs/decisions/0004-admissions-share-round-trips.md).
"""

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError

from shared import scripts
from shared.scripts import Script, ScriptCall


class _Call(NamedTuple):
    script: ScriptCall
    answer: asyncio.Future[Any]


class PipelinedScripts:
    """One pipeline in flight at most; an idle one makes nobody wait."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._calls: list[_Call] = []
        self._sender: asyncio.Task[None] | None = None

    def load(self, *names: str) -> Script:
        """Return the last named script as a function of its KEYS and ARGV, as `shared.scripts.load` does."""
        prepared = scripts.prepare(scripts.read(*names))

        async def call(keys: Sequence[str], arguments: Sequence[Any]) -> Any:  # noqa: ANN401  what the script returns
            answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            self._calls.append(_Call(prepared(keys, arguments), answer))
            if self._sender is None or self._sender.done():
                self._sender = asyncio.create_task(self._send())
            return await answer

        return call

    async def _send(self) -> None:
        while self._calls:
            calls, self._calls = self._calls, []
            try:
                replies: list[Any] = await self._execute(calls)
            except RedisError as error:
                replies = [error] * len(calls)
            for call, reply in zip(calls, replies, strict=True):
                if call.answer.done():  # whoever asked has been cancelled
                    continue
                if isinstance(reply, Exception):
                    call.answer.set_exception(reply)
                else:
                    call.answer.set_result(reply)

    async def _execute(self, calls: list[_Call]) -> list[Any]:
        pipeline = self._redis.pipeline(transaction=False)
        for call in calls:
            pipeline.execute_command(*call.script.by_digest)
        replies = await pipeline.execute(raise_on_error=False)
        for index, call in enumerate(calls):
            if isinstance(replies[index], NoScriptError):
                replies[index] = await self._redis.execute_command(*call.script.whole)
        return replies
