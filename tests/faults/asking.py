"""One job as its client sees it, on all its connections."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import httpx
import msgspec
from msgspec import Struct
from msgspec.structs import replace

from tests.event_stream import EventParser
from tests.faults.manners import Request
from tests.faults.storyteller import Wish
from tests.faults.transcript import (
    REPLAY,
    Cancellation,
    Connection,
    Ending,
    ForeignAnswer,
    KeptJob,
    Question,
    Recorder,
    SeenEvent,
    WholeAnswer,
    now_ms,
)
from tests.surfaces import BY_NAME, NATIVE, Surface

HANG_S = 75.0  # for an answer in one piece: a limit for hanging, not an expectation
DEFAULT_RETRY_MS = 1000
LONGEST_WAIT_S = 2.0  # for a refusal: the outages of a run are short
LOOK_EVERY_S = 0.2  # after a job that was accepted
RETRIED = frozenset({429, 503})
UNDER_WAY = frozenset({"queued", "running"})
_ACCEPTED, _NO_CONTENT = 202, 204


class Desk(Struct, frozen=True):
    """What a client asks with."""

    http: httpx.AsyncClient
    recorder: Recorder
    token: str
    another_gateway: Callable[[str], str]  # to try, not the one that has just failed; empty: none has


class Asking:
    """One job under way."""

    def __init__(self, desk: Desk, request: Request, question: Question) -> None:
        self.desk = desk
        self._request = request
        self._manners = request.manners
        self.mark = question.mark
        self.headers = {
            "Authorization": f"Bearer {desk.token}",
            "X-Request-Id": question.mark,
        }
        if request.manners.has_key:
            self.headers["Idempotency-Key"] = question.mark
        wish = Wish(question.mark, request.words, request.pace_ms, request.misfortunes)
        self.body = BY_NAME[request.manners.surface].body(request.model, msgspec.json.encode(wish).decode())
        self._breaks = {"reader-1": list(self._manners.breaks_off_after)}
        self._others: asyncio.TaskGroup
        self._have_begun = False
        self._has_cancelled = False

    async def until_answered(self, gateway: str | None) -> bool:
        """See the job through in the way that is wished for; False: it could not be learnt whether there is a job."""
        gateway = gateway or self.desk.another_gateway("")
        if self._manners.surface != NATIVE.name:
            return await self._foreign(gateway)
        if self._manners.is_whole:
            return await self._whole(gateway)
        if self._manners.is_durable:
            return await self._kept(gateway)
        return await self._streamed(gateway)

    async def _whole(self, gateway: str) -> bool:
        while True:
            answer, retry_after_s = await self._ask_whole(gateway)
            self.desk.recorder.write(answer)
            if answer.status not in RETRIED:
                return answer.status is not None
            await asyncio.sleep(retry_after_s)
            gateway = self.desk.another_gateway(gateway)

    async def _ask_whole(self, gateway: str) -> tuple[WholeAnswer, float]:
        opened_ms = now_ms()
        try:
            response = await self.desk.http.post(
                f"{gateway}/v1/chat", json=self.body, headers=self.headers, timeout=HANG_S
            )
        except httpx.TransportError as error:
            has_hung = isinstance(error, httpx.ReadTimeout)
            return WholeAnswer(self.mark, gateway, opened_ms, now_ms(), has_hung=has_hung), 0
        answer = WholeAnswer(self.mark, gateway, opened_ms, now_ms(), response.status_code, response.text)
        return answer, _retry_after_s(response)

    async def _foreign(self, gateway: str) -> bool:
        surface = BY_NAME[self._manners.surface]
        while True:
            listening = _ForeignListening(self, surface, gateway, leaves_after=self._manners.leaves_after)
            answer = await listening.until_it_ends()
            if answer.status not in RETRIED:
                return answer.ending != "cut"
            await asyncio.sleep(listening.retry_after_s)
            gateway = self.desk.another_gateway(gateway)

    async def _kept(self, gateway: str) -> bool:
        opened_ms = now_ms()
        while True:
            try:
                response = await self.desk.http.post(
                    f"{gateway}/v1/chat", json=self.body, headers=self.headers | {"Prefer": "respond-async"}
                )
            except httpx.TransportError:
                self.desk.recorder.write(KeptJob(self.mark, gateway, opened_ms, now_ms()))
                return False
            if response.status_code == _ACCEPTED:
                kept = await self._look_until_it_ends(response.json()["id"], KeptJob(self.mark, gateway, opened_ms, 0))
                self.desk.recorder.write(kept)
                return True
            code = _code_of(response)
            self.desk.recorder.write(KeptJob(self.mark, gateway, opened_ms, now_ms(), response.status_code, code))
            if response.status_code not in RETRIED:
                return True
            await asyncio.sleep(_retry_after_s(response))
            gateway = self.desk.another_gateway(gateway)

    async def _look_until_it_ends(self, job_id: str, kept: KeptJob) -> KeptJob:
        """Return what became of an accepted job, as far as was seen before the client lost its patience."""
        kept = replace(kept, status=_ACCEPTED, job_id=job_id, ended_as="queued")
        with suppress(asyncio.CancelledError):
            while kept.ended_as in UNDER_WAY:
                await asyncio.sleep(LOOK_EVERY_S)
                kept = await self._look(kept)
        return replace(kept, closed_ms=now_ms())

    async def _look(self, kept: KeptJob) -> KeptJob:
        gateway = self.desk.another_gateway("")
        try:
            response = await self.desk.http.get(f"{gateway}/v1/chat/{kept.job_id}", headers=self.headers)
        except httpx.TransportError:
            return kept
        if response.status_code in RETRIED:
            return kept
        if not response.is_success:
            return replace(kept, ended_as=None, code=_code_of(response))
        job = response.json()
        code = job["error"] and job["error"]["code"]
        return replace(kept, ended_as=job["status"], content=job["content"], usage=job["usage"], code=code)

    async def _streamed(self, gateway: str) -> bool:
        async with asyncio.TaskGroup() as self._others:
            job_id = await self._read("reader-1", gateway, job_id=None)
        if job_id and self._manners.replays:
            await self._read(REPLAY, self.desk.another_gateway(""), job_id=job_id)
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
            gateway = self.desk.another_gateway(gateway)

    async def seen(self, reader: str, job_id: str, events: int) -> Ending | None:
        """Do what manners want after so many events on a connection; returns how it ends by that, if it does."""
        if reader != "reader-1":
            return None
        if not self._have_begun:
            self._have_begun = True
            for number in range(2, self._manners.readers + 1):
                gateway = self.desk.another_gateway("")
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
        self.desk.recorder.write(Cancellation(self.mark, now_ms()))
        gateway = self.desk.another_gateway("")
        try:
            await self.desk.http.delete(f"{gateway}/v1/chat/{job_id}", headers=self.headers)
        except httpx.TransportError:
            return  # then it may go on to its end


class _Listening:
    """One connection on which a stream is asked for."""

    def __init__(self, asking: Asking, reader: str, gateway: str, *, job_id: str | None, after: int) -> None:
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
            self._asking.desk.recorder.write(connection)
        return connection

    async def _listen(self) -> Ending:
        http, headers = self._asking.desk.http, dict(self._asking.headers)
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


class _ForeignListening:
    """One connection on which a stream is asked for in a protocol that is not ours."""

    def __init__(self, asking: Asking, surface: Surface, gateway: str, *, leaves_after: int | None) -> None:
        self._asking = asking
        self._surface = surface
        self._gateway = gateway
        self._leaves_after = leaves_after
        self._status: int | None = None
        self._body = b""
        self.retry_after_s = 0.0

    async def until_it_ends(self) -> ForeignAnswer:
        """Return everything that came, written down, also when the reader is cancelled."""
        opened_ms = now_ms()
        ending: Ending = "cut"
        try:
            ending = await self._listen()
        except httpx.TransportError:
            pass
        finally:
            answer = ForeignAnswer(
                mark=self._asking.mark,
                surface=self._surface.name,
                gateway=self._gateway,
                ending=ending,
                opened_ms=opened_ms,
                closed_ms=now_ms(),
                status=self._status,
                body=self._body.decode(errors="replace"),
            )
            self._asking.desk.recorder.write(answer)
        return answer

    async def _listen(self) -> Ending:
        http, url = self._asking.desk.http, f"{self._gateway}{self._surface.path}"
        reading = self._surface.reading()
        async with http.stream("POST", url, json=self._asking.body, headers=self._asking.headers) as response:
            self._status = response.status_code
            async for data in response.aiter_raw():
                self._body += data
                if response.is_success:
                    reading.feed(data)
                if self._leaves_after is not None and len(reading.frames) >= self._leaves_after:
                    return "left"
        self.retry_after_s = _retry_after_s(response)
        return "ended" if response.is_success else "refused"


def _retry_after_s(response: httpx.Response) -> float:
    return min(float(response.headers.get("Retry-After", 0)), LONGEST_WAIT_S)


def _code_of(response: httpx.Response) -> str | None:
    if response.status_code == _NO_CONTENT:
        return None
    return response.json()["error"]["code"]
