"""What this gateway knows of the workers: a copy of the registry, renewed when a worker says that it has changed."""

import asyncio
import contextlib
import difflib
import logging
from collections.abc import Generator, Sequence
from itertools import chain

from msgspec import structs
from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared import model_descriptions
from shared.errors import ModelNotFoundError, NoWorkerError, StoreUnavailableError
from shared.model_names import whole_name
from shared.queue_snapshot import Backlog, read_backlog
from shared.registry import Announcement, ModelOffer, Registry, read_registry

RENEW_EVERY_S = 1.0  # a worker that dies says nothing; its lease ends
NO_WORKER_RETRY_S = 5.0
NEAR_MATCHES = 3
MAX_NAME_CHARS = 256  # of a name that is compared, and comes back in the answer

_log = logging.getLogger(__name__)


class ModelCatalog:
    """Answers which models there are, without asking anybody."""

    def __init__(self, redis: Redis, *, queue_without_workers: bool) -> None:
        self.registry = Registry(workers=(), known_models=frozenset())
        self._served: list[str] = []
        self._has_been_read = False
        self._redis = redis
        self._queue_without_workers = queue_without_workers
        self._changed = asyncio.Event()

    def served(self) -> list[str]:
        """Return the models that a live worker can serve, sorted.

        Raises:
            StoreUnavailableError: Nothing is known yet: Redis has been out of reach since this process started.

        """
        self._require_knowledge()
        return self._served

    def live_workers(self) -> list[Announcement]:
        """Return what the live workers that take jobs say of themselves.

        Raises:
            StoreUnavailableError: As in `served`.

        """
        self._require_knowledge()
        return [worker for worker in self.registry.workers if not worker.draining]

    def resolve(self, name: str) -> str:
        """Return the full name of the model that `name` means: itself, or itself with the tag `latest`.

        Raises:
            ModelNotFoundError: Nobody has it, and nobody had it within the last day.
            NoWorkerError: Nobody has it just now, and jobs may not wait for somebody.
            StoreUnavailableError: As in `served`.

        """
        self._require_knowledge()
        for known in (self._served, self.registry.known_models):
            for candidate in (name, whole_name(name)):
                if candidate in known:
                    return self._admit_unserved(candidate)
        raise unknown_model(name, self._served)

    async def description_of(self, offer: ModelOffer) -> bytes | None:
        """Return what Ollama knows of a model, a JSON object; None: nobody has told it yet.

        Raises:
            StoreUnavailableError: Redis is out of reach.

        """
        with _redis_in_reach():
            return await model_descriptions.read(self._redis, offer.digest)

    async def backlog_of(self, model: str) -> Backlog:
        """Return what a new job of a model, given by its whole name, finds before it.

        Raises:
            StoreUnavailableError: Redis is out of reach.

        """
        with _redis_in_reach():
            return await read_backlog(self._redis, model)

    async def renew(self) -> None:
        """Read the registry once.

        Raises:
            RedisError: Redis is out of reach; the copy stays as it was.

        """
        registry = await read_registry(self._redis)
        if not registry.known_models:  # Redis has lost them; workers announce them again within a heartbeat
            registry = structs.replace(registry, known_models=self.registry.known_models)
        self.registry = registry
        self._served = self.registry.served_models()
        self._has_been_read = True

    def renew_soon(self) -> None:
        """Have the registry read now: somebody said that it has changed."""
        self._changed.set()

    async def run(self) -> None:
        """Keep the copy fresh until cancelled."""
        while True:
            self._changed.clear()
            try:
                await self.renew()
            except RedisError as error:
                _log.warning("registry_unread", extra={"error": str(error)})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RENEW_EVERY_S):
                    await self._changed.wait()

    def _require_knowledge(self) -> None:
        if not self._has_been_read:
            raise StoreUnavailableError("Which models there are is not known yet.", retry_after_s=RENEW_EVERY_S)

    def _admit_unserved(self, model: str) -> str:
        if model in self._served or self._queue_without_workers:
            return model
        raise NoWorkerError(f"No worker has {model!r} just now.", retry_after_s=NO_WORKER_RETRY_S)


@contextlib.contextmanager
def _redis_in_reach() -> Generator[None]:
    try:
        yield
    except RedisError as error:
        raise StoreUnavailableError("Models cannot be looked up just now.", retry_after_s=RENEW_EVERY_S) from error


def unknown_model(name: str, served: Sequence[str]) -> ModelNotFoundError:
    """Return the error that tells that there is no model of this name, and which ones are much like it."""
    shown = name if len(name) <= MAX_NAME_CHARS else f"{name[:MAX_NAME_CHARS]}…"
    near = _near_matches(shown, served)
    hint = f" Did you mean {', '.join(near)}?" if near else ""
    return ModelNotFoundError(f"Model {shown!r} not found.{hint}", param="model")


def _near_matches(name: str, served: Sequence[str]) -> list[str]:
    """Return the models that are much like `name`, the likest first: with or without the tags, in whatever case."""
    models: dict[str, list[str]] = {}
    for model in served:
        for spelling in _spellings(model):
            models.setdefault(spelling, []).append(model)
    close = (difflib.get_close_matches(spelling, models, NEAR_MATCHES) for spelling in _spellings(name))
    return list(dict.fromkeys(model for spelling in chain(*close) for model in models[spelling]))[:NEAR_MATCHES]


def _spellings(name: str) -> tuple[str, ...]:
    folded = name.lower()
    untagged, colon, tag = folded.rpartition(":")
    return (folded, untagged) if colon and "/" not in tag else (folded,)
