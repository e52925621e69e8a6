"""The double's HTTP server: Ollama's paths from the demo model, and its own to be told and asked."""

import asyncio
import math
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self

import msgspec
from aiohttp import web

from infra.local.demo_model import DEFAULT_HOST, DEFAULT_MODEL, DemoModel, read_body
from infra.local.ollama_wire import EmbedCall, Ending, GeneratingCall, ModelCall, Piece, full_name
from tests.ollama_double.answers import Answer, Done, Script, Step
from tests.ollama_double.performance import Performance
from tests.ollama_double.records import Gates, Generation, Records, State

CAPABILITIES = ("completion", "embedding", "thinking", "tools", "vision")
SHUTDOWN_S = 0.1


class OllamaDouble(DemoModel):
    """An Ollama that does what the test says and remembers what it saw.

    Args:
        models: The names it has from the start.
        tokens_per_second: The pace of answers that nobody scripted.
        goes_on: Whether it continues a trailing message of the assistant, with what is scripted, too.
        twin: Another double with whom it shares what is scripted: each answer is given once, by whoever is asked.

    """

    def __init__(
        self,
        models: Sequence[str] = (DEFAULT_MODEL,),
        *,
        tokens_per_second: float = math.inf,
        goes_on: bool = False,
        twin: "OllamaDouble | None" = None,
    ) -> None:
        super().__init__(models, tokens_per_second=tokens_per_second, capabilities=CAPABILITIES, goes_on=goes_on)
        self.url = ""
        self._scripts: dict[str, list[Answer]] = twin._scripts if twin else {}
        self._gates = Gates()
        self._records = Records()
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        """Serve on a free port; `url` names it."""
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def state(self) -> State:
        """What was seen so far."""
        return self._records.state

    async def start(self, port: int = 0) -> None:
        """Serve on `port`, 0 for a free one; a double that was stopped can be started again."""
        self._runner = web.AppRunner(
            self.application(), access_log=None, handler_cancellation=True, shutdown_timeout=SHUTDOWN_S
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, DEFAULT_HOST, port).start()
        self.url = f"http://{DEFAULT_HOST}:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Stop serving; what is under way is cut off."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def script(self, model: str, *answers: Answer) -> None:
        """Let `model`, which is there from now on, give these answers in order and the last one for ever."""
        name = full_name(model)
        if name not in self.models:
            self.models.append(name)
        self._scripts[name] = list(answers)

    def release(self, gate: str) -> None:
        """Let every `Hang(gate)` go on, those to come as well."""
        self._gates.release(gate)

    async def until(self, predicate: Callable[[State], object], description: str) -> None:
        """Wait until `predicate` holds for what was seen.

        Raises:
            AssertionError: It never did; names `description`.

        """
        await self._records.until(predicate, description)

    def application(self) -> web.Application:
        """See `DemoModel.application`."""
        application = super().application()
        application.add_routes(
            [
                web.put("/_double/script", self._put_script),
                web.put("/_double/gates/{gate}", self._put_gate),
                web.get("/_double/state", self._get_state),
            ]
        )
        return application

    async def respond(self, request: web.Request, call: GeneratingCall) -> web.StreamResponse:
        """Play the model's next answer."""
        answer = self._next_answer(call)
        steps = self._repeat(call) if answer.steps is None else self._from_where_it_begins(answer.steps, call)
        return await self._play(request, call, answer, steps, line=call.line, streams=call.stream is not False)

    async def respond_with_embeddings(self, request: web.Request, call: EmbedCall) -> web.StreamResponse:
        """Play the model's next answer without its tokens; the closing line holds the embeddings."""
        answer = self._next_answer(call)
        embeddings = self.embeddings(call)
        return await self._play(
            request, call, answer, answer.steps or (), line=lambda _piece, _ending: embeddings, streams=False
        )

    async def _play(
        self,
        request: web.Request,
        call: ModelCall,
        answer: Answer,
        steps: Sequence[Step],
        *,
        line: Callable[[Piece, Ending | None], bytes],
        streams: bool,
    ) -> web.StreamResponse:
        async with self._recorded(request, call) as generation:
            performance = Performance(
                request,
                answer,
                generation,
                line=line,
                prompt_tokens=call.prompt_tokens,
                streams=streams,
                gates=self._gates,
                records=self._records,
            )
            return await performance.play(steps)

    def _next_answer(self, call: ModelCall) -> Answer:
        answers = self._scripts.get(full_name(call.model)) or [Answer(step_ms=self.seconds_per_token * 1000)]
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def _repeat(self, call: GeneratingCall) -> Sequence[Step]:
        tokens = self.tokens(call)
        shown = tokens[: call.max_tokens]
        return shown if len(shown) == len(tokens) else [*shown, Done("length")]

    def _from_where_it_begins(self, steps: Sequence[Step], call: GeneratingCall) -> Sequence[Step]:
        """Leave out the tokens that are said already, and what stands between them."""
        said = call.begun if self.goes_on else ""
        for index, step in enumerate(steps):
            if not said:
                return steps[index:]
            if isinstance(step, str):
                if not said.startswith(step):
                    return [step.removeprefix(said), *steps[index + 1 :]]
                said = said.removeprefix(step)
        return ()

    @asynccontextmanager
    async def _recorded(self, request: web.Request, call: ModelCall) -> AsyncGenerator[Generation]:
        host, port = request.get_extra_info("peername")
        generation = Generation(
            model=call.model,
            path=request.path,
            client=f"{host}:{port}",
            headers={name.lower(): value for name, value in request.headers.items()},
            request=await request.json(),
        )
        self._records.open(generation)
        outcome = "completed"
        try:
            yield generation
        except (asyncio.CancelledError, ConnectionError):
            outcome = "aborted"
            raise
        finally:
            if generation.outcome == "active":
                generation.outcome = outcome
            self._records.changed()

    async def _put_script(self, request: web.Request) -> web.Response:
        script = await read_body(request, Script)
        self.script(script.model, *script.answers)
        return web.Response(status=204)

    async def _put_gate(self, request: web.Request) -> web.Response:
        self.release(request.match_info["gate"])
        return web.Response(status=204)

    async def _get_state(self, _request: web.Request) -> web.Response:
        return web.Response(body=msgspec.json.encode(self.state), content_type="application/json")
