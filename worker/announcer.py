"""Tells the gateways what this worker can serve, and the worker which queues to claim from."""

import asyncio
import contextlib
import logging
import os
import socket

from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared.errors import UpstreamError
from shared.job_queue import WORKER_LEASE_MS
from shared.registry import ANNOUNCE_EVERY_S, Announcement, InMemory, ModelOffer, announce, withdraw
from worker.circuit_breaker import CircuitBreaker
from worker.describer import Describer
from worker.job_worker import JobWorker
from worker.mailbox import Mailbox
from worker.ollama import LoadedModel, ModelTag, Ollama
from worker.slots import Slots

RETRY_OLLAMA_S = 1.0

_log = logging.getLogger(__name__)


class Announcer:
    """Looks at Ollama every few seconds and announces what is there."""

    def __init__(
        self,
        *,
        redis: Redis,
        ollama: Ollama,
        worker: JobWorker,
        mailbox: Mailbox,
        slots: Slots,
        breaker: CircuitBreaker,
        describer: Describer,
        worker_id: str,
    ) -> None:
        self._redis = redis
        self._ollama = ollama
        self._worker = worker
        self._mailbox = mailbox
        self._slots = slots
        self._breaker = breaker
        self._describer = describer
        self._worker_id = worker_id

    async def run(self) -> None:
        """Announce until cancelled; with Ollama out of reach there is nothing to claim, and that is announced too."""
        while True:
            self._breaker.news.clear()
            await self.announce()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ANNOUNCE_EVERY_S if self._worker.models else RETRY_OLLAMA_S):
                    await self._breaker.news.wait()

    async def announce(self) -> None:
        """Look at Ollama once and announce what is there."""
        offers, version = await self._look()
        self._worker.loaded = frozenset(offer.name for offer in offers if offer.loaded)
        self._describer.offer(offers)
        await self._adopt(frozenset(offer.name for offer in offers))
        try:
            await announce(self._redis, self._announcement(offers, version), lease_ms=WORKER_LEASE_MS)
        except RedisError as error:
            _log.warning("announcement_failed", extra={"error": str(error)})

    async def withdraw(self) -> None:
        """Leave the list of live workers; if Redis is away, the lease ends by itself."""
        try:
            await withdraw(self._redis, self._worker_id)
        except RedisError as error:
            _log.warning("withdrawal_failed", extra={"error": str(error)})

    async def _look(self) -> tuple[tuple[ModelOffer, ...], str]:
        try:
            tags, loaded, version = await asyncio.gather(self._ollama.tags(), self._ollama.ps(), self._ollama.version())
        except UpstreamError as error:
            _log.warning("ollama_unreachable", extra={"error": error.message})
            return (), ""
        in_memory = {model.name: model for model in loaded}
        offers = (_offer(tag, in_memory.get(tag.name)) for tag in tags)
        return tuple(sorted(offers, key=lambda offer: offer.name)), version

    async def _adopt(self, models: frozenset[str]) -> None:
        if models == self._worker.models:
            return
        _log.info("models_changed", extra={"models": sorted(models)})
        await self._mailbox.listen_for(models)
        self._worker.models = models
        self._worker.wake()

    def _announcement(self, offers: tuple[ModelOffer, ...], version: str) -> Announcement:
        resting = self._breaker.resting
        return Announcement(
            id=self._worker_id,
            host=socket.gethostname(),
            pid=os.getpid(),
            models=tuple(offer for offer in offers if offer.name not in resting),
            resting=tuple(offer.name for offer in offers if offer.name in resting),
            slots=self._slots.per_model,
            max_jobs=self._slots.in_all,
            ollama_version=version,
            draining=not self._worker.allow_pick_jobs,
            tasks=len(asyncio.all_tasks()),
        )


def _offer(tag: ModelTag, loaded: LoadedModel | None) -> ModelOffer:
    return ModelOffer(
        name=tag.name,
        digest=tag.digest,
        size_bytes=tag.size,
        modified_at=tag.modified_at,
        details=tag.details,
        capabilities=tag.capabilities or (),
        memory=loaded
        and InMemory(
            size_bytes=loaded.size,
            size_vram_bytes=loaded.size_vram,
            context_length=loaded.context_length,
            expires_at=loaded.expires_at,
        ),
    )
