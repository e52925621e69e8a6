"""Which models of this worker's Ollama rest, because jobs failed there one after the other.

A circuit for each model, because one that crashes says nothing about the others on the host: closed, the model is in
use; open, it rests, which the gateways are told; half open, it is on trial with one job at a time. Different jobs are
counted, not attempts: a prompt that brings every host down opens nothing by itself.
"""

import asyncio
import logging
from collections.abc import Mapping
from enum import Enum, auto

from msgspec import Struct

from shared.errors import (
    JobError,
    ModelNotFoundError,
    UpstreamBusyError,
    UpstreamError,
    UpstreamRejectedError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)
from worker.job_in_hand import JobInHand
from worker.ollama import Ollama
from worker.retry import AVOID_FACTOR, asked_for_ms
from worker.settings import OllamaSettings

FIRST_REST_S = 1.0
LONGEST_REST_S = 15.0  # a host that is well again is back in use within twice that

_log = logging.getLogger(__name__)


class _State(Enum):
    CLOSED = auto()  # in use
    OPEN = auto()  # resting
    HALF_OPEN = auto()  # on trial


class _Circuit(Struct):
    state: _State = _State.CLOSED
    failed: set[str] = set()  # ids of the jobs that failed since the last that went well
    rests: int = 0  # how often the model has rested since then
    trial: str = ""  # id of the job on trial; empty: there is none
    paused_until_s: float = 0.0  # on the loop's clock: Ollama was busy


class CircuitBreaker:
    """The circuits of one worker.

    Args:
        ollama: Whose models they are.
        settings: When a model rests, and how long a busy Ollama is left alone that does not say for how long.

    """

    def __init__(self, ollama: Ollama, settings: OllamaSettings) -> None:
        self.news = asyncio.Event()  # set when Ollama should be looked at, and what is there announced anew
        self._ollama = ollama
        self._threshold = settings.ollama_breaker_threshold
        self._pause_ms = AVOID_FACTOR * settings.ollama_retry_delay_ms
        self._circuits: dict[str, _Circuit] = {}
        self._opened: asyncio.Queue[tuple[str, _Circuit]] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()

    @property
    def resting(self) -> frozenset[str]:
        """The models that are not to be offered."""
        return frozenset(model for model, circuit in self._circuits.items() if circuit.state is _State.OPEN)

    def limit(self, free_slots: Mapping[str, int]) -> Mapping[str, int]:
        """Return what may be claimed of what there is room for, per model."""
        if not self._circuits:
            return free_slots
        allowed = {model: self._allowed(model, free) for model, free in free_slots.items()}
        return {model: free for model, free in allowed.items() if free}

    def begin(self, job: JobInHand) -> None:
        """Note a job that is about to run: the first one of a model that is half open is its trial."""
        circuit = self._circuits.get(job.claim.job.model)
        if circuit is not None and circuit.state is _State.HALF_OPEN and not circuit.trial:
            circuit.trial = job.claim.job.id

    def end(self, job: JobInHand) -> None:
        """Learn from a job that has ended here, or that is put back."""
        model, fault = job.claim.job.model, job.fault
        circuit = self._circuits.get(model) or _Circuit()
        was_trial = circuit.trial == job.claim.job.id
        if was_trial:
            circuit.trial = ""
        if isinstance(fault, UpstreamUnreachableError | UpstreamTimeoutError):
            self.news.set()  # perhaps all of Ollama is away
        if isinstance(fault, UpstreamBusyError):
            circuit.paused_until_s = self._loop.time() + max(self._pause_ms, asked_for_ms(fault)) / 1000
            self._circuits[model] = circuit
        elif job.has_proved_ollama_well:
            self._close(model, circuit)
        elif fault is not None:
            self._circuits[model] = circuit
            circuit.failed.add(job.claim.job.id)
            self._count(model, circuit, fault, was_trial=was_trial)

    async def run(self) -> None:
        """Bring resting models back until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                tasks.create_task(self._bring_back(*await self._opened.get()))

    def _allowed(self, model: str, free: int) -> int:
        circuit = self._circuits.get(model)
        if circuit is None:
            return free
        if circuit.state is _State.OPEN or self._loop.time() < circuit.paused_until_s:
            return 0
        if circuit.state is _State.HALF_OPEN:
            return 0 if circuit.trial else 1
        return free

    def _count(self, model: str, circuit: _Circuit, fault: UpstreamError, *, was_trial: bool) -> None:
        is_too_much = circuit.state is _State.CLOSED and len(circuit.failed) >= self._threshold
        if is_too_much or was_trial:
            _log.warning("model_rests", extra={"model": model, "jobs": len(circuit.failed), "code": fault.code})
            circuit.state = _State.OPEN
            self._opened.put_nowait((model, circuit))
            self.news.set()

    def _close(self, model: str, circuit: _Circuit) -> None:
        if circuit.state is _State.OPEN:  # what began before the failures; the trial decides
            return
        if circuit.state is _State.HALF_OPEN:
            _log.info("model_in_use_again", extra={"model": model})
        self._circuits.pop(model, None)

    async def _bring_back(self, model: str, circuit: _Circuit) -> None:
        while circuit.state is _State.OPEN:
            await asyncio.sleep(min(FIRST_REST_S * 2**circuit.rests, LONGEST_REST_S))
            circuit.rests += 1
            if await self._is_well(model):
                _log.info("model_on_trial", extra={"model": model, "rests": circuit.rests})
                circuit.state = _State.HALF_OPEN
                self.news.set()

    async def _is_well(self, model: str) -> bool:
        """Ask cheaply: whether Ollama answers at all, and whether the model can be loaded."""
        try:
            await self._ollama.version()
            await self._ollama.load(model)
        except (UpstreamRejectedError, ModelNotFoundError):  # it answers; a model for embeddings refuses to generate
            return True
        except JobError as error:
            _log.info("model_still_rests", extra={"model": model, "error": str(error)})
            return False
        return True
