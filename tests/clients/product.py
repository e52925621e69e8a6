"""The product for clients of another environment: `.venv/bin/python -m tests.clients.product`.

Prints an `Offer` as one line of JSON and runs until its stdin ends. Everything must be left idle by then, no log may
hold an error or a secret and no key in Redis may stay for ever: otherwise it ends with a traceback and with 1.
"""

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import msgspec

from infra.local.node_modules import node
from tests.clients.offer import OPEN, STRICT, Offer
from tests.end_to_end.stack import MODELS, Stack
from tests.ollama_double import Answer, OllamaDouble
from tests.servers import directory_for_servers, postgresql_server, valkey_server

_ORPHAN = "orphan:latest"
_FURTHER = ("hf.co/ada/tiny:q4", "llama3.2:3b")


async def main() -> None:
    """Run the product."""
    async with _running_stack() as stack:
        sys.stdout.write(msgspec.json.encode(await _offer(stack)).decode() + "\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


@asynccontextmanager
async def _running_stack() -> AsyncGenerator[Stack]:
    with directory_for_servers() as directory:
        logs = directory / "logs"
        logs.mkdir()
        async with (
            postgresql_server(directory) as databases,
            valkey_server(directory) as redis,
            databases.fresh() as database_url,
            Stack(redis=redis, database_url=database_url, logs=logs) as stack,
            stack.for_one_test(),
        ):
            yield stack


async def _offer(stack: Stack) -> Offer:
    url, strict_url = (await stack.gateway(**OPEN)).url, (await stack.gateway(**STRICT)).url
    async with OllamaDouble([_ORPHAN]) as other, stack.workers_beside(other):
        await stack.until_served(_ORPHAN)
    for model in _FURTHER:
        stack.double.script(model, Answer())
    await stack.until_served(*_FURTHER)
    user = await stack.client()
    program = await stack.program(user)
    return Offer(
        url=url,
        strict_url=strict_url,
        double_url=stack.double.url,
        models=sorted((*MODELS, *_FURTHER)),
        orphan=_ORPHAN,
        access_token=user.account.token,
        api_key=program.account.token,
        node=str(node()),
    )


if __name__ == "__main__":
    asyncio.run(main())
