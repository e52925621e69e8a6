"""A server that speaks Ollama's wire with no model behind it, so that everything can be tried without a GPU.

It says so in every answer and is labelled `demo` wherever Ollama describes a model. Run it with
`python -m infra.local.demo_model`; it refuses to run in production.
"""

import argparse
import asyncio
import hashlib
import math
import random
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from infra.local.ollama_wire import (
    JSON,
    NDJSON,
    ChatCall,
    EmbedCall,
    Ending,
    GenerateCall,
    GeneratingCall,
    ModelCall,
    Piece,
    ShowCall,
    encode,
    full_name,
    timestamp,
)
from shared.settings import AppSettings, SettingsError, load, read_environment

DEFAULT_MODEL = "demo:latest"
DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 11434
TOKENS_PER_SECOND = 30.0
VERSION = "0.0.0-demo"
CONTEXT_LENGTH = 4096
EMBEDDING_LENGTH = 32
KEEP_ALIVE = timedelta(minutes=5)  # Ollama's default
SHUTDOWN_S = 0.5  # how long answers under way may go on after SIGTERM

Answer = Callable[[str], Iterable[str]]
Body = TypeVar("Body", bound=msgspec.Struct)

_INTRODUCTION = "This is the demo model: no language model runs here, it only repeats what it hears. You said: "
_TOKEN = re.compile(r"\s*\S+|\s+")


class RefusedError(Exception):
    """A request that cannot be served; told as Ollama tells it, by a status and one `error` field."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Generation:
    """One answer while it is made: gives its tokens at a pace, up to `num_predict`, and its figures at the end."""

    def __init__(self, call: GeneratingCall, tokens: Sequence[str], seconds_per_token: float) -> None:
        self._started_ns = time.monotonic_ns()
        self._call = call
        self._tokens = tokens[: call.max_tokens]
        self._is_cut = len(self._tokens) < len(tokens)
        self._seconds_per_token = seconds_per_token
        self._loaded_ns = self._prompt_read_ns = time.monotonic_ns()

    async def __aiter__(self) -> AsyncIterator[str]:
        """Yield the tokens, the first one at once."""
        loop = asyncio.get_running_loop()
        self._prompt_read_ns = time.monotonic_ns()
        first_at = loop.time()
        for index, token in enumerate(self._tokens):
            await asyncio.sleep(first_at + index * self._seconds_per_token - loop.time())
            yield token

    def ending(self) -> Ending:
        """Return the closing fields of the answer, as measured up to now."""
        now_ns = time.monotonic_ns()
        return Ending(
            done_reason="length" if self._is_cut else "stop",
            total_duration=now_ns - self._started_ns,
            load_duration=self._loaded_ns - self._started_ns,
            prompt_eval_count=self._call.prompt_tokens,
            prompt_eval_duration=self._prompt_read_ns - self._loaded_ns,
            eval_count=len(self._tokens),
            eval_duration=now_ns - self._prompt_read_ns,
        )


class DemoModel:
    """An Ollama whose models all answer the same way.

    Args:
        models: The names it has; one without a tag is `:latest`.
        answer: Makes the tokens of an answer out of the question.
        tokens_per_second: The pace of the answer; `math.inf` is as fast as the client reads.
        capabilities: What `/api/show` lists; tools and thinking are refused unless they stand here.
        goes_on: Whether it continues a trailing message of the assistant; otherwise it answers the question anew.

    """

    def __init__(
        self,
        models: Sequence[str] = (DEFAULT_MODEL,),
        *,
        answer: Answer | None = None,
        tokens_per_second: float = TOKENS_PER_SECOND,
        capabilities: Sequence[str] = ("completion", "embedding"),
        goes_on: bool = True,
    ) -> None:
        self.models = [full_name(model) for model in models]
        self.answer = answer or introduce_and_repeat
        self.seconds_per_token = 1 / tokens_per_second
        self.capabilities = list(capabilities)
        self.goes_on = goes_on
        self.shows_prompts = True  # as Ollama has done for a while
        self.modified_at = datetime.now(UTC)
        self._loaded_until: dict[str, datetime] = {}

    def application(self) -> web.Application:
        """Return the web application; run it with `handler_cancellation=True`, or answers outlive their clients."""
        application = web.Application(middlewares=[_tell_refusals], client_max_size=0)
        application.add_routes(
            [
                web.get("/", self._running),
                web.get("/api/version", self._version),
                web.get("/api/tags", self._tags),
                web.get("/api/ps", self._ps),
                web.post("/api/show", self._show),
                web.post("/api/chat", self._chat),
                web.post("/api/generate", self._generate),
                web.post("/api/embed", self._embed),
            ]
        )
        return application

    async def respond(self, request: web.Request, call: GeneratingCall) -> web.StreamResponse:
        """Answer a call that has a question; cancelled when the client goes away."""
        generation = Generation(call, self.tokens(call), self.seconds_per_token)
        if call.stream is False:
            text = "".join([token async for token in generation])
            return web.Response(body=call.line(Piece(text), generation.ending()), headers={"Content-Type": JSON})
        response = web.StreamResponse(headers={"Content-Type": NDJSON})
        async for token in generation:
            await response.prepare(
                request
            )  # does nothing but the first time: Ollama's headers leave with the first token
            await response.write(call.line(Piece(token)))
        await response.prepare(request)
        await response.write(call.line(Piece(), generation.ending()))
        return response

    def tokens(self, call: GeneratingCall) -> list[str]:
        """Return the tokens of the answer to `call`, from where it has begun."""
        tokens = list(self.answer(call.question))
        return rest_after(call.begun, tokens) if self.goes_on else tokens

    async def respond_with_embeddings(self, _request: web.Request, call: EmbedCall) -> web.StreamResponse:
        """Answer a call for embeddings."""
        return _json(self.embeddings(call))

    def embeddings(self, call: EmbedCall) -> bytes:
        """Return the body that answers `call`: the same text always has the same vector, and no meaning."""
        started_ns = time.monotonic_ns()
        vectors = [embedding_of(text, call.dimensions) for text in call.texts]
        return encode(
            {
                "model": call.model,
                "embeddings": vectors,
                "total_duration": time.monotonic_ns() - started_ns,
                "prompt_eval_count": call.prompt_tokens,
            }
        )

    def description_of(self, model: str) -> dict[str, Any]:
        """Return what `/api/show` tells of a model, by its whole name."""
        return {
            "modelfile": f"FROM /var/lib/demo/blobs/sha256-{digest_of(model)}\n",
            "template": "{{ .Prompt }}",
            "details": _details(),
            "model_info": {
                "general.architecture": "demo",
                "general.parameter_count": 0,
                "demo.context_length": CONTEXT_LENGTH,
                "demo.embedding_length": EMBEDDING_LENGTH,
            },
            "capabilities": self.capabilities,
            "modified_at": timestamp(self.modified_at),
        }

    async def _running(self, _request: web.Request) -> web.Response:
        return web.Response(text="Ollama is running")

    async def _version(self, _request: web.Request) -> web.Response:
        return _json(encode({"version": VERSION}))

    async def _tags(self, _request: web.Request) -> web.Response:
        models = [
            {
                "name": name,
                "model": name,
                "modified_at": timestamp(self.modified_at),
                "size": 0,
                "digest": digest_of(name),
                "details": _details(),
                "capabilities": self.capabilities,
            }
            for name in self.models
        ]
        return _json(encode({"models": models}))

    async def _ps(self, _request: web.Request) -> web.Response:
        now = datetime.now(UTC)
        loaded = [
            {
                "name": name,
                "model": name,
                "size": 0,
                "digest": digest_of(name),
                "details": _details(),
                "expires_at": timestamp(until),
                "size_vram": 0,
                "context_length": CONTEXT_LENGTH,
            }
            for name, until in sorted(self._loaded_until.items(), key=lambda entry: entry[1], reverse=True)
            if until > now
        ]
        return _json(encode({"models": loaded}))

    async def _show(self, request: web.Request) -> web.Response:
        call = await read_body(request, ShowCall)
        model = call.model or call.name
        if not model:
            raise RefusedError(400, "model is required")
        self._require(model)
        return _json(encode(self.description_of(full_name(model))))

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        call = await read_body(request, ChatCall)
        if not call.model:
            raise RefusedError(400, "model is required")
        if call.debug_render_only and self.shows_prompts:
            self._require(call.model)
            self._load(call)
            prompt = {"rendered_template": call.rendered(goes_on=self.goes_on)}
            return _json(encode({"model": call.model, "created_at": timestamp(), "_debug_info": prompt}))
        return await self._respond_or_load(request, call)

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        return await self._respond_or_load(request, await read_body(request, GenerateCall))

    async def _embed(self, request: web.Request) -> web.StreamResponse:
        call = await read_body(request, EmbedCall)
        self._require(call.model)
        self._load(call)
        return await self.respond_with_embeddings(request, call)

    async def _respond_or_load(self, request: web.Request, call: GeneratingCall) -> web.StreamResponse:
        self._require(call.model)
        self._require_capabilities(call)
        if call.is_empty and call.unloads:
            self._loaded_until.pop(full_name(call.model), None)
            return _json(call.line(Piece(), Ending(done_reason="unload")))
        self._load(call)
        if call.is_empty:
            return _json(call.line(Piece(), Ending(done_reason="load")))
        return await self.respond(request, call)

    def _require(self, model: str) -> None:
        if full_name(model) not in self.models:
            raise RefusedError(404, f"model '{model}' not found")

    def _require_capabilities(self, call: GeneratingCall) -> None:
        if call.think and "thinking" not in self.capabilities:
            raise RefusedError(400, f'"{call.model}" does not support thinking')
        if call.tools and "tools" not in self.capabilities:
            raise RefusedError(400, f"registry.ollama.ai/library/{full_name(call.model)} does not support tools")

    def _load(self, call: ModelCall) -> None:
        self._loaded_until[full_name(call.model)] = datetime.now(UTC) + KEEP_ALIVE


def introduce_and_repeat(question: str) -> Iterable[str]:
    """Return the demo model's answer in tokens; together they are the introduction and then `question`."""
    return _TOKEN.findall(_INTRODUCTION + question)


def rest_after(begun: str, tokens: Sequence[str]) -> list[str]:
    """Return what is left of an answer that has begun so; all of it if it begins otherwise."""
    said = len(begun)
    if not "".join(tokens).startswith(begun):
        return list(tokens)
    rest: list[str] = []
    for token in tokens:
        if unsaid := token[said:] if said else token:
            rest.append(unsaid)
        said = max(said - len(token), 0)
    return rest


async def read_body(request: web.Request, kind: type[Body]) -> Body:
    """Return the request's JSON as `kind`.

    Raises:
        RefusedError: It is missing, or is something else.

    """
    body = await request.read()
    if not body:
        raise RefusedError(400, "missing request body")
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RefusedError(400, str(error)) from None


def embedding_of(text: str, dimensions: int = 0) -> list[float]:
    """Return a unit vector that depends on nothing but `text`, shortened to `dimensions` unless that is 0."""
    source = random.Random(text)
    values = [source.gauss() for _ in range(EMBEDDING_LENGTH)][: dimensions or None]
    length = math.hypot(*values)
    return [round(value / length, 8) for value in values]


def digest_of(name: str) -> str:
    """Return the digest under which a model of this name is listed."""
    return hashlib.sha256(name.encode()).hexdigest()


async def serve(application: web.Application, host: str, port: int, announce: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        application: What to serve.
        host: The address to listen on.
        port: The port, 0 for a free one.
        announce: Called with the server's URL as soon as it accepts connections.

    Raises:
        OSError: The address is taken.

    """
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        announce(f"http://{host}:{runner.addresses[0][1]}")
        await stop.wait()
    finally:
        await runner.cleanup()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the demo model until SIGINT or SIGTERM.

    Raises:
        SystemExit: With a sentence: this is production, a setting is wrong, or the address is taken.

    """
    options = _parse(arguments)
    try:
        if load(AppSettings, read_environment()).app_env == "production":
            sys.exit("The demo model does not run with APP_ENV=production: point OLLAMA_BASE_URL at an Ollama.")
        demo = DemoModel(options.model or [DEFAULT_MODEL], tokens_per_second=options.tokens_per_second)
        asyncio.run(serve(demo.application(), options.host, options.port, _announce))
    except (SettingsError, OSError, OverflowError) as error:
        sys.exit(str(error))


def _announce(url: str) -> None:
    print(f"Demo model at {url}", flush=True)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m infra.local.demo_model", description=__doc__)
    parser.add_argument("--host", default=DEFAULT_HOST)
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="0 takes a free one; the line printed names it")
    parser.add_argument("--model", action="append", metavar="NAME", help=f"may be repeated; {DEFAULT_MODEL} by default")
    parser.add_argument("--tokens-per-second", type=float, default=TOKENS_PER_SECOND, metavar="N")
    return parser.parse_args(arguments)


@web.middleware
async def _tell_refusals(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except RefusedError as refusal:
        return _json(encode({"error": refusal.message}), refusal.status)


def _json(body: bytes, status: int = 200) -> web.Response:
    return web.Response(status=status, body=body, headers={"Content-Type": JSON})


def _details() -> dict[str, Any]:
    return {
        "parent_model": "",
        "format": "demo",
        "family": "demo",
        "families": ["demo"],
        "parameter_size": "0",
        "quantization_level": "none",
    }


if __name__ == "__main__":
    main()
