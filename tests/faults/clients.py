"""Clients that do what the contract tells them, and write down everything that comes of it.

A client whose connection breaks waits as long as `retry` says and reads on after the last id that it has, at another
gateway. One that is refused waits as `Retry-After` says. Nothing that comes is left out of the transcript, and nothing
is judged here.
"""

import asyncio
import random
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress

import httpx

from tests.faults.asking import DEFAULT_RETRY_MS, Asking, Desk
from tests.faults.manners import Request
from tests.faults.transcript import Question, Recorder

SILENCE_S = 15.0  # heartbeats come every 10 s; who hears nothing for longer has lost the connection
PATIENCE_S = 90.0  # in which a job must have ended, whatever breaks: a limit for hanging, not an expectation


class Clients:
    """Some users with their clients.

    Args:
        tokens: An access token for each user.
        gateways: Returns where gateways are; which of them live, nobody tells a client.
        recorder: Where everything is written down.
        chance: Decides which gateway is tried.

    """

    def __init__(
        self, tokens: Sequence[str], gateways: Callable[[], Sequence[str]], recorder: Recorder, chance: random.Random
    ) -> None:
        self._tokens = tokens
        self._gateways = gateways
        self._recorder = recorder
        self._chance = chance
        self._http = httpx.AsyncClient(
            timeout=httpx.Timeout(5.0, read=SILENCE_S),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
            trust_env=False,
        )

    async def close(self) -> None:
        """Close what is open."""
        await self._http.aclose()

    async def ask(self, request: Request, *, gateway: str | None = None) -> None:
        """See one job through.

        A request that gets no answer at all is made again: for the same job if it has a key, otherwise for another one.

        Args:
            request: What is asked for.
            gateway: Where it is asked first; otherwise chance decides.

        """
        with suppress(TimeoutError):  # the transcript then has no end
            async with asyncio.timeout(PATIENCE_S):
                asking = self._new_asking(request)
                while not await asking.until_answered(gateway):
                    await asyncio.sleep(DEFAULT_RETRY_MS / 1000)
                    asking, gateway = asking if request.manners.has_key else self._new_asking(request), None

    def _new_asking(self, request: Request) -> Asking:
        mark = f"mk{secrets.token_hex(6)}"  # not by chance: a seed that comes again must not make the same key
        question = Question(mark, str(request.user), request.model, request.excused)
        self._recorder.write(question)
        desk = Desk(self._http, self._recorder, self._tokens[request.user], self._another_gateway)
        return Asking(desk, request, question)

    def _another_gateway(self, than: str) -> str:
        gateways = [url for url in self._gateways() if url != than]
        return self._chance.choice(gateways or list(self._gateways()))
