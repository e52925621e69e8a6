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
import msgspec
from msgspec import Struct

from tests.event_stream import EventParser
from tests.faults.storyteller import Misfortune, Wish
from tests.faults.transcript import (
    REPLAY,
    Cancellation,
    Connection,
    Ending,
    Question,
    Recorder,
    SeenEvent,
    WholeAnswer,
    now_ms,
)

SILENCE_S = 15.0  # heartbeats come every 10 s; who hears nothing for longer has lost the connection
PATIENCE_S = 90.0  # in which a job must have ended, whatever breaks: a limit for hanging, not an expectation
HANG_S = 75.0  # the same for an answer in one piece
DEFAULT_RETRY_MS = 1000
LONGEST_WAIT_S = 2.0  # for a refusal: the outages of a run are short
RETRIED = frozenset({429, 503})
_NO_CONTENT = 204


class Manners(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a client goes about one job."""

    is_whole: bool = False  # it wants the answer in one piece
    has_key: bool = False  # it sends an Idempotency-Key, so that asking again cannot make another job
    readers: int = 1  # read the stream at once, each from the start
    breaks_off_after: tuple[int, ...] = ()  # so many events of its first connections each, and comes back
    leaves_after: int | None = None  # so many events, and never comes back
    cancels_after: int | None = None  # so many events it has the job stopped, and reads on
    replays: bool = False  # when all is over, it reads everything again


class Request(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One job as a plan has it."""

    user: int  # which of the users asks
    model: str
    words: int
    pace_ms: float
    manners: Manners = Manners()
    misfortunes: tuple[Misfortune, ...] = ()
    excused: tuple[str, ...] = ()  # codes with which it may end because of them


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
        self.tokens = tokens
        self._gateways = gateways
        self.recorder = recorder
        self._chance = chance
        self.http = httpx.AsyncClient(
            timeout=httpx.Timeout(5.0, read=SILENCE_S),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
            trust_env=False,
        )

    async def close(self) -> None:
        """Close what is open."""
        await self.http.aclose()

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
                while not await (asking.whole(gateway) if request.manners.is_whole else asking.streamed(gateway)):
                    await asyncio.sleep(DEFAULT_RETRY_MS / 1000)
                    asking, gateway = asking if request.manners.has_key else self._new_asking(request), None

    def _new_asking(self, request: Request) -> "_Asking":
        mark = f"mk{secrets.token_hex(6)}"  # not by chance: a seed that comes again must not make the same key
        question = Question(mark, str(request.user), request.model, request.excused)
        self.recorder.write(question)
        return _Asking(self, request, question)

    def another_gateway(self, than: str = "") -> str:
        """Return a gateway to try, not the one that has just failed."""
        gateways = [url for url in self._gateways() if url != than]
        return self._chance.choice(gateways or list(self._gateways()))


class _Asking:
    """One job under way."""

    def __init__(self, clients: Clients, request: Request, question: Question) -> None:
        self.clients = clients
        self._request = request
        self._manners = request.manners
        self.mark = question.mark
        self.headers = {
            "Authorization": f"Bearer {clients.tokens[request.user]}",
            "X-Request-Id": question.mark,
        }
        if request.manners.has_key:
            self.headers["Idempotency-Key"] = question.mark
        wish = Wish(question.mark, request.words, request.pace_ms, request.misfortunes)
        content = msgspec.json.encode(wish).decode()
        self.body = {"model": request.model, "messages": [{"role": "user", "content": content}]}
        self._breaks = {"reader-1": list(self._manners.breaks_off_after)}
        self._others: asyncio.TaskGroup
        self._have_begun = False
        self._has_cancelled = False

    async def whole(self, gateway: str | None) -> bool:
        """Ask for the whole answer; False: none came."""
        while True:
            gateway = gateway or self.clients.another_gateway()
            answer, retry_after_s = await self._ask_whole(gateway)
            self.clients.recorder.write(answer)
            if answer.status not in RETRIED:
                return answer.status is not None
            await asyncio.sleep(retry_after_s)
            gateway = self.clients.another_gateway(than=gateway)

    async def _ask_whole(self, gateway: str) -> tuple[WholeAnswer, float]:
        opened_ms = now_ms()
        try:
            response = await self.clients.http.post(
                f"{gateway}/v1/chat", json=self.body, headers=self.headers, timeout=HANG_S
            )
        except httpx.TransportError as error:
            has_hung = isinstance(error, httpx.ReadTimeout)
            return WholeAnswer(self.mark, gateway, opened_ms, now_ms(), has_hung=has_hung), 0
        answer = WholeAnswer(self.mark, gateway, opened_ms, now_ms(), response.status_code, response.text)
        return answer, _retry_after_s(response)

    async def streamed(self, gateway: str | None) -> bool:
        """Read the stream to its end, by all its readers; False: it could not be learnt whether there is a job."""
        async with asyncio.TaskGroup() as self._others:
            job_id = await self._read("reader-1", gateway or self.clients.another_gateway(), job_id=None)
        if job_id and self._manners.replays:
            await self._read(REPLAY, self.clients.another_gateway(), job_id=job_id)
        return job_id is not None

    async def _read(self, reader: str, gateway: str, *, job_id: str | None) -> str | None:
        """Read a stream from its start to its end, and return the job's id, or an empty one if it was refused."""
        last_id, retry_ms = 0, DEFAULT_RETRY_MS
        while True:
            listening = _Listening(self, reader, gateway, job_id=job_id, after=last_id)
            connection = await listening.until_it_ends()
            job_id = connection.job_id or job_id
            last_id = max([last_id, *(event.id for event in connection.events if event.id)])
            retry_ms = retry_ms if connection.retry_ms is None else connection.retry_ms
            has_ended = any(event.is_end for event in connection.events)
            if has_ended or connection.ending == "left":
                return job_id
            if connection.ending == "refused":
                if connection.status not in RETRIED:
                    return job_id or ""
                await asyncio.sleep(listening.retry_after_s)
            elif job_id is None:
                return None
            else:
                await asyncio.sleep(retry_ms / 1000)
            gateway = self.clients.another_gateway(than=gateway)

    async def seen(self, reader: str, job_id: str, events: int) -> Ending | None:
        """Do what manners want after so many events on a connection; returns how it ends by that, if it does."""
        if reader != "reader-1":
            return None
        if not self._have_begun:
            self._have_begun = True
            for number in range(2, self._manners.readers + 1):
                gateway = self.clients.another_gateway()
                self._others.create_task(self._read(f"reader-{number}", gateway, job_id=job_id))
        if self._manners.cancels_after is not None and events >= self._manners.cancels_after:
            await self._cancel(job_id)
        if self._manners.leaves_after is not None and events >= self._manners.leaves_after:
            return "left"
        if self._breaks[reader] and events >= self._breaks[reader][0]:
            del self._breaks[reader][0]
            return "cut"
        return None

    async def _cancel(self, job_id: str) -> None:
        if self._has_cancelled:
            return
        self._has_cancelled = True
        self.clients.recorder.write(Cancellation(self.mark, now_ms()))
        gateway = self.clients.another_gateway()
        try:
            await self.clients.http.delete(f"{gateway}/v1/chat/{job_id}", headers=self.headers)
        except httpx.TransportError:
            return  # then it may go on to its end


class _Listening:
    """One connection on which a stream is asked for."""

    def __init__(self, asking: _Asking, reader: str, gateway: str, *, job_id: str | None, after: int) -> None:
        self._asking = asking
        self._reader = reader
        self._gateway = gateway
        self._after = after
        self._job_id = job_id
        self._is_new = job_id is None
        self._parser = EventParser()
        self._events: list[SeenEvent] = []
        self._status: int | None = None
        self._code: str | None = None
        self.retry_after_s = 0.0

    async def until_it_ends(self) -> Connection:
        """Return everything that came, written down, also when the reader is cancelled."""
        opened_ms = now_ms()
        ending: Ending = "cut"
        try:
            ending = await self._listen()
        except httpx.TransportError:
            pass
        finally:
            connection = Connection(
                mark=self._asking.mark,
                reader=self._reader,
                gateway=self._gateway,
                after=self._after,
                ending=ending,
                opened_ms=opened_ms,
                closed_ms=now_ms(),
                job_id=self._job_id,
                status=self._status,
                code=self._code,
                retry_ms=self._parser.retry_ms,
                events=tuple(self._events),
            )
            self._asking.clients.recorder.write(connection)
        return connection

    async def _listen(self) -> Ending:
        http, headers = self._asking.clients.http, dict(self._asking.headers)
        if self._is_new:
            request = http.stream("POST", f"{self._gateway}/v1/chat/stream", json=self._asking.body, headers=headers)
        else:
            headers |= {"Last-Event-ID": str(self._after)} if self._after else {}
            request = http.stream("GET", f"{self._gateway}/v1/chat/{self._job_id}/stream", headers=headers)
        async with request as response:
            self._status = response.status_code
            if not response.is_success or response.status_code == _NO_CONTENT:
                await response.aread()
                self._code = _code_of(response)
                self.retry_after_s = _retry_after_s(response)
                return "refused"
            self._job_id = response.headers["X-Job-Id"]
            async for data in response.aiter_raw():
                self._take(data)
                if ending := await self._asking.seen(self._reader, response.headers["X-Job-Id"], len(self._events)):
                    return ending
        self._parser.close()
        return "ended"

    def _take(self, data: bytes) -> None:
        self._parser.feed(data)
        at_ms = now_ms()
        for event in self._parser.events[len(self._events) :]:
            id_ = None if event.id is None else int(event.id)
            self._events.append(SeenEvent(event.type, event.data, id=id_, at_ms=at_ms))


def _retry_after_s(response: httpx.Response) -> float:
    return min(float(response.headers.get("Retry-After", 0)), LONGEST_WAIT_S)


def _code_of(response: httpx.Response) -> str | None:
    if response.status_code == _NO_CONTENT:
        return None
    return response.json()["error"]["code"]
