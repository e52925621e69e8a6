"""The worker's only door to Ollama: asks it, reads answers as they come, and translates whatever can go wrong.

Bytes are taken from the transport as they arrive; each read gives all replies that came with it at once. Leaving an
answer early, by closing the iterator or by cancellation, closes its connection, and with that Ollama stops.
"""

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from types import TracebackType
from typing import Self, TypeVar

import httpx
import msgspec
from msgspec import Struct

from shared.errors import (
    UpstreamError,
    UpstreamInterruptedError,
    UpstreamRejectedError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)
from worker.http_transport import Transport
from worker.ollama_faults import fault_in_status
from worker.ollama_replies import Reply, ReplyReader
from worker.settings import OllamaSettings
from worker.silence_watch import SilenceWatch

CONNECT_MS = 5_000
LOADING_MS = 300_000  # tens of gigabytes from a slow disk
TOOL_CALL_SILENCE_MS = 300_000  # Ollama may hold a tool call back until it has parsed all of it
ABOUT_MODELS_MS = 10_000  # tags, ps, show and version need no model
DRAIN_S = 0.1  # after the last reply: the end of the response follows within a millisecond, or not at all

_PLAIN = {"Accept": "*/*", "Accept-Encoding": "identity"}  # compressing would gather tokens
_JSON = {"Content-Type": "application/json"}
_NO_HEADERS: Mapping[str, str] = {}

Body = TypeVar("Body")


class Deadlines(Struct, frozen=True):
    """How long each phase of an answer may take, in milliseconds."""

    connect_ms: int = CONNECT_MS
    first_token_ms: int = 60_000  # from asking to the first reply, connecting included
    silence_ms: int = 30_000  # between one read and the next after that


DEFAULT_DEADLINES = Deadlines()
_ABOUT_MODELS = Deadlines(first_token_ms=ABOUT_MODELS_MS)
_LOADING = Deadlines(first_token_ms=LOADING_MS)


def deadlines_for(settings: OllamaSettings, *, is_loaded: bool, calls_tools: bool) -> Deadlines:
    """Return the deadlines for one job.

    Args:
        settings: What the operator has set.
        is_loaded: Whether the model answers without loading first.
        calls_tools: Whether the request offers tools.

    """
    first_token_ms, silence_ms = settings.ollama_first_token_timeout_ms, settings.ollama_default_timeout_ms
    return Deadlines(
        first_token_ms=first_token_ms if is_loaded else max(LOADING_MS, first_token_ms),
        silence_ms=max(TOOL_CALL_SILENCE_MS, silence_ms) if calls_tools else silence_ms,
    )


class ModelTag(Struct, frozen=True):
    """One model that Ollama has."""

    name: str  # with tag
    digest: str = ""
    size: int = 0  # bytes on disk
    modified_at: str = ""  # RFC 3339, with nanoseconds and the host's zone
    details: msgspec.Raw = msgspec.Raw(b"{}")
    capabilities: tuple[str, ...] | None = None


class LoadedModel(Struct, frozen=True):
    """One model that is in memory."""

    name: str  # with tag
    size: int = 0  # bytes in all
    size_vram: int = 0  # bytes
    context_length: int = 0  # tokens; 0: this Ollama does not say
    expires_at: str = ""  # as in `ModelTag.modified_at`


class Embeddings(Struct, frozen=True):
    """The answer to `embed`."""

    model: str
    embeddings: msgspec.Raw  # one array of numbers for each input
    prompt_eval_count: int = 0
    total_duration: int = 0  # nanoseconds
    load_duration: int = 0  # nanoseconds


class _Tags(Struct):
    models: list[ModelTag] | None = None


class _Loaded(Struct):
    models: list[LoadedModel] | None = None


class _Version(Struct):
    version: str


class _Loading(Struct):
    done: bool = False


class _DebugInfo(Struct):
    rendered_template: str = ""


class _Rendered(Struct):
    debug_info: _DebugInfo | None = msgspec.field(name="_debug_info", default=None)


class Ollama:
    """One Ollama; an asynchronous context manager that holds its connections, as many as there are answers at once.

    Every method may raise:
        UpstreamUnreachableError: No connection, or it broke before the answer began.
        UpstreamTimeoutError: A deadline passed; the error names the phase.
        UpstreamInterruptedError: The answer broke off, or is not one.
        UpstreamRejectedError: Ollama refused the request; subclasses say why where that is known.
        ModelNotFoundError: Ollama does not have the model; like the others it ends a job.
        UpstreamBusyError: Ollama takes nothing more just now.
        UpstreamError: Ollama failed.

    """

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url.rstrip("/")
        # No `httpx.AsyncClient` around it: what that adds (redirects, cookies, authentication, joining of URLs) Ollama
        # does not need, and it costs 150 µs for each request (docs/decisions/0005-leaner-requests.md).
        self._transport = Transport()
        self._urls: dict[str, httpx.URL] = {}  # by path; parsing one costs 30 µs

    async def __aenter__(self) -> Self:
        """Open nothing: connections are made when they are needed."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections; answers under way are interrupted."""
        await self._transport.aclose()

    def chat(
        self, request: bytes, *, deadlines: Deadlines = DEFAULT_DEADLINES, headers: Mapping[str, str] = _NO_HEADERS
    ) -> AsyncGenerator[list[Reply]]:
        """Send `request` to `/api/chat` and yield the replies, all that came in one read together.

        The last reply, and no other, has `done` set; an iteration that ends has given it. Close the iterator
        (`contextlib.aclosing`) or cancel it to stop Ollama.
        """
        return self._stream("/api/chat", request, deadlines, headers)

    def generate(
        self, request: bytes, *, deadlines: Deadlines = DEFAULT_DEADLINES, headers: Mapping[str, str] = _NO_HEADERS
    ) -> AsyncGenerator[list[Reply]]:
        """Send `request` to `/api/generate`; see `chat`."""
        return self._stream("/api/generate", request, deadlines, headers)

    async def embed(
        self, request: bytes, *, deadlines: Deadlines = DEFAULT_DEADLINES, headers: Mapping[str, str] = _NO_HEADERS
    ) -> Embeddings:
        """Send `request` to `/api/embed` and return the answer, which may take as long as a first token."""
        return await self._ask(self._post("/api/embed", request, deadlines, headers), Embeddings, deadlines)

    async def render(
        self, request: bytes, *, deadlines: Deadlines = DEFAULT_DEADLINES, headers: Mapping[str, str] = _NO_HEADERS
    ) -> str | None:
        """Return what the model would be given for a request to `chat`; it is loaded for that, and asked nothing.

        Returns:
            The prompt; None: this Ollama does not tell, because it is too old, or refuses.

        """
        try:
            rendered = await self._ask(self._post("/api/chat", request, deadlines, headers), _Rendered, deadlines)
        except UpstreamRejectedError:
            return None
        return rendered.debug_info and rendered.debug_info.rendered_template

    async def tags(self) -> list[ModelTag]:
        """Return the models that Ollama has."""
        return (await self._ask_about_models("/api/tags", _Tags)).models or []

    async def ps(self) -> list[LoadedModel]:
        """Return the models that are in memory."""
        return (await self._ask_about_models("/api/ps", _Loaded)).models or []

    async def load(self, name: str) -> None:
        """Have a model in memory, and ask it nothing."""
        body = msgspec.json.encode({"model": name, "stream": False})
        await self._ask(self._post("/api/generate", body, _LOADING, _NO_HEADERS), _Loading, _LOADING)

    async def show(self, name: str) -> dict[str, msgspec.Raw]:
        """Return what Ollama knows of a model, field by field."""
        request = self._post("/api/show", msgspec.json.encode({"model": name}), _ABOUT_MODELS, _NO_HEADERS)
        return await self._ask(request, dict[str, msgspec.Raw], _ABOUT_MODELS)

    async def version(self) -> str:
        """Return Ollama's version."""
        return (await self._ask_about_models("/api/version", _Version)).version

    async def _ask_about_models(self, path: str, kind: type[Body]) -> Body:
        return await self._ask(self._request("GET", path, _ABOUT_MODELS, headers=_PLAIN), kind, _ABOUT_MODELS)

    async def _ask(self, request: httpx.Request, kind: type[Body], deadlines: Deadlines) -> Body:
        """Return the one JSON value that answers `request`."""
        due_at = _after_ms(deadlines.first_token_ms)
        async with aclosing(await self._send(request, deadlines, due_at)) as response:
            body = await _read_whole(response, deadlines, due_at)
        try:
            return msgspec.json.decode(body, type=kind)
        except ValueError:
            raise UpstreamInterruptedError(f"{request.url.path} did not answer as Ollama does.") from None

    async def _stream(
        self, path: str, body: bytes, deadlines: Deadlines, headers: Mapping[str, str]
    ) -> AsyncGenerator[list[Reply]]:
        # Looking up the running loop is a system call on Python 3.11 (getpid), a seventh of all a token costs.
        now = asyncio.get_running_loop().time
        due_at, silence_s = now() + deadlines.first_token_ms / 1000, deadlines.silence_ms / 1000
        response = await self._send(self._post(path, body, deadlines, headers), deadlines, due_at)
        async with aclosing(response):
            reader, watch, reads = ReplyReader(), SilenceWatch(response.aclose), _bytes_of(response)
            watch.wait_until(due_at)
            try:
                async for data in reads:
                    watch.rest()
                    if replies := reader.feed(data):
                        yield replies
                    if reader.is_over:
                        break
                    watch.wait_until(now() + silence_s if reader.has_begun else due_at)
                if replies := reader.finish():
                    yield replies
            except httpx.TransportError:
                raise _break_of(reader, deadlines, is_too_late=watch.has_given_up) from None
            finally:
                watch.stop()
                if reader.is_done:
                    await _read_to_the_end(reads)
            if reader.fault is not None:
                raise reader.fault

    def _post(self, path: str, body: bytes, deadlines: Deadlines, headers: Mapping[str, str]) -> httpx.Request:
        return self._request("POST", path, deadlines, headers={**_PLAIN, **headers, **_JSON}, body=body)

    def _request(
        self, method: str, path: str, deadlines: Deadlines, *, headers: Mapping[str, str], body: bytes | None = None
    ) -> httpx.Request:
        url = self._urls.get(path) or self._urls.setdefault(path, httpx.URL(self._base_url + path))
        # What the transport sees to: connecting, names looked up and TLS included. Reads are watched here.
        connect_s = deadlines.connect_ms / 1000
        return httpx.Request(method, url, headers=headers, content=body, extensions={"timeout": {"connect": connect_s}})

    async def _send(self, request: httpx.Request, deadlines: Deadlines, due_at: float) -> httpx.Response:
        """Return the response, its body unread; one that says no success is raised as what it stands for."""
        async with _before_the_answer(deadlines, due_at):
            response = await self._transport.handle_async_request(request)
        if response.is_success:
            return response
        async with aclosing(response):
            body = await _read_whole(response, deadlines, due_at)
        raise fault_in_status(response.status_code, body, retry_after=response.headers.get("Retry-After"))


def _after_ms(ms: int) -> float:
    return asyncio.get_running_loop().time() + ms / 1000


def _bytes_of(response: httpx.Response) -> AsyncIterator[bytes]:
    """Return the body as it arrives, past httpx's own readers, which decode, count and copy."""
    if not isinstance(response.stream, httpx.AsyncByteStream):
        raise TypeError("an asynchronous transport gives an asynchronous stream")
    return aiter(response.stream)


async def _read_to_the_end(reads: AsyncIterator[bytes]) -> None:
    """Take the end of the response off the connection, so that it can be used again; if none comes, it is closed."""
    with suppress(TimeoutError, httpx.TransportError):
        async with asyncio.timeout(DRAIN_S):
            async for _ in reads:
                pass


async def _read_whole(response: httpx.Response, deadlines: Deadlines, due_at: float) -> bytes:
    async with _before_the_answer(deadlines, due_at):
        return await response.aread()


@asynccontextmanager
async def _before_the_answer(deadlines: Deadlines, due_at: float) -> AsyncGenerator[None]:
    """Bound what happens before the answer begins, and translate what can go wrong with it."""
    try:
        async with asyncio.timeout_at(due_at):
            yield
    except TimeoutError:
        raise UpstreamTimeoutError(
            f"Ollama did not begin to answer within {deadlines.first_token_ms} ms.",
            phase="first_token",
            limit_ms=deadlines.first_token_ms,
        ) from None
    except httpx.ConnectTimeout:
        raise UpstreamTimeoutError(
            f"No connection to Ollama within {deadlines.connect_ms} ms.",
            phase="connect",
            limit_ms=deadlines.connect_ms,
        ) from None
    except httpx.TransportError as error:
        raise _unreachable(error) from None


def _break_of(reader: ReplyReader, deadlines: Deadlines, *, is_too_late: bool) -> UpstreamError:
    """Return the error for a read that failed."""
    if is_too_late and reader.has_begun:
        message = f"Ollama stopped in the middle of the answer and was silent for {deadlines.silence_ms} ms."
        return UpstreamTimeoutError(message, phase="silence", limit_ms=deadlines.silence_ms)
    if is_too_late:
        message = f"Ollama did not begin to answer within {deadlines.first_token_ms} ms."
        return UpstreamTimeoutError(message, phase="first_token", limit_ms=deadlines.first_token_ms)
    if reader.has_begun:
        return UpstreamInterruptedError("The connection to Ollama broke in the middle of the answer.")
    return UpstreamUnreachableError("The connection to Ollama broke before the answer began.")


def _unreachable(error: httpx.TransportError) -> UpstreamError:
    """Return the error for a connection that failed, with the system's reason but without addresses."""
    match error.__cause__:
        case ssl.SSLError():
            reason = "TLS failed"
        case socket.gaierror():
            reason = "its name is not known"
        case OSError(errno=int(number)):
            reason = os.strerror(number)
        case _:
            return UpstreamUnreachableError("The connection to Ollama broke before the answer began.")
    return UpstreamUnreachableError(f"Ollama cannot be reached: {reason}.")
