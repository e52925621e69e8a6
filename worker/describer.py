"""Tells the gateways what Ollama knows of its models: asks once for each digest that nobody has described."""

import asyncio
import contextlib
import logging
import re
from collections.abc import Iterable

import msgspec
from msgspec import Raw
from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared import model_descriptions
from shared.errors import DeeperSensorError
from shared.registry import ModelOffer
from worker.ollama import Ollama

RENEW_EVERY_S = 60.0  # also what a model waits for that could not be described, or whose description Redis has lost

_PATH_OF_BLOB = re.compile(r"^(FROM|ADAPTER) .*[/\\](?=sha256-)", re.MULTILINE)

_log = logging.getLogger(__name__)


class Describer:
    """Describes the models that are on offer, beside the announcements, which must not wait for that."""

    def __init__(self, *, redis: Redis, ollama: Ollama) -> None:
        self._redis = redis
        self._ollama = ollama
        self._names: dict[str, str] = {}  # of models on offer, one for each digest
        self._changed = asyncio.Event()

    def offer(self, offers: Iterable[ModelOffer]) -> None:
        """Have these models described, and no others."""
        names = {offer.digest: offer.name for offer in offers if offer.digest}
        if names != self._names:
            self._names = names
            self._changed.set()

    async def run(self) -> None:
        """Describe until cancelled."""
        while True:
            self._changed.clear()
            await self._describe(dict(self._names))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RENEW_EVERY_S):
                    await self._changed.wait()

    async def _describe(self, names: dict[str, str]) -> None:
        try:
            for digest in await model_descriptions.renew(self._redis, names):
                await self._ask(digest, names[digest])
        except RedisError as error:
            _log.warning("descriptions_untold", extra={"error": str(error)})

    async def _ask(self, digest: str, name: str) -> None:
        try:
            description = await self._ollama.show(name)
        except DeeperSensorError as error:
            _log.warning("model_undescribed", extra={"model": name, "error": error.message})
            return
        if modelfile := description.pop("modelfile", None):
            description |= _without_paths(modelfile)
        await model_descriptions.store(self._redis, digest, description)


def _without_paths(modelfile: Raw) -> dict[str, Raw]:
    """Return the member for a Modelfile that does not tell where the machine's files are, which digests name.

    What is none, of a server that only resembles Ollama, is left out.
    """
    try:
        text = msgspec.json.decode(modelfile, type=str)
    except msgspec.DecodeError:
        return {}
    return {"modelfile": Raw(msgspec.json.encode(_PATH_OF_BLOB.sub(r"\1 ", text)))}
