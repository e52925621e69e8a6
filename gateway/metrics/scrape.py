"""Answers one scrape: brings the figures that live in Redis up to date, then writes all of them down."""

import asyncio
import logging
import math

from prometheus_client.exposition import choose_encoder
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.metrics.declared import Metrics
from gateway.models.catalog import ModelCatalog
from shared.queue_snapshot import QueueReader, QueueSnapshot
from shared.registry import Registry

_log = logging.getLogger(__name__)


class Scraper:
    """Writes down the metrics of this process, and those of all queues and workers."""

    def __init__(self, metrics: Metrics, redis: Redis, catalog: ModelCatalog) -> None:
        self._metrics = metrics
        self._queues = QueueReader(redis)
        self._catalog = catalog

    async def scrape(self, accept: str) -> tuple[bytes, str]:
        """Return all metrics and their media type, which is what `accept` prefers: OpenMetrics or Prometheus' text.

        Without Redis the figures of queues and workers are left out; the answer comes all the same.
        """
        registry = self._catalog.registry
        snapshot: QueueSnapshot | None = None
        try:
            snapshot = await self._queues.snapshot(sorted({*registry.served_models(), *registry.known_models}))
        except RedisError as error:
            _log.warning("queues_unread", extra={"error": str(error)})
        # No await from here on: another scrape must not find the gauges half set.
        _forget(self._metrics)
        self._metrics.redis_up.set(snapshot is not None)
        self._metrics.jobs_unstored.set(snapshot.unstored if snapshot else math.nan)
        self._metrics.asyncio_tasks.set(len(asyncio.all_tasks()))
        if snapshot:
            _show_queues(self._metrics, snapshot)
            _show_workers(self._metrics, snapshot, registry)
        encode, media_type = choose_encoder(accept)
        return encode(self._metrics.registry), media_type


def _forget(metrics: Metrics) -> None:
    """A model or worker that is gone must not be shown with the figures it had last."""
    for gauge in (
        metrics.queue_depth,
        metrics.queue_delayed,
        metrics.queue_oldest_age,
        metrics.jobs_running,
        metrics.model_slots,
        metrics.model_loaded,
        metrics.model_resting,
        metrics.workers,
        metrics.worker_heartbeat_age,
        metrics.worker_tasks,
    ):
        gauge.clear()


def _show_queues(metrics: Metrics, snapshot: QueueSnapshot) -> None:
    oldest_ms: dict[str, int] = {}
    for queue in snapshot.queues:
        model = metrics.bounded_model(queue.model)
        metrics.queue_depth.labels(model).inc(queue.waiting)
        metrics.queue_delayed.labels(model).inc(queue.delayed)
        metrics.jobs_running.labels(model).inc(queue.running)
        oldest_ms[model] = max(queue.oldest_ms, oldest_ms.get(model, 0))
    for model, age_ms in oldest_ms.items():
        metrics.queue_oldest_age.labels(model).set(age_ms / 1000)


def _show_workers(metrics: Metrics, snapshot: QueueSnapshot, registry: Registry) -> None:
    for queue in snapshot.queues:
        metrics.model_slots.labels(metrics.bounded_model(queue.model)).inc(registry.slots(queue.model))
    for state in ("serving", "draining"):
        metrics.workers.labels(state)
    for worker in registry.workers:
        metrics.workers.labels("draining" if worker.draining else "serving").inc()
        metrics.worker_tasks.labels(f"{worker.host}-{worker.pid}").set(worker.tasks)
        for offer in worker.models:
            metrics.model_loaded.labels(metrics.bounded_model(offer.name)).inc(offer.loaded)
        for model in worker.resting:
            metrics.model_resting.labels(metrics.bounded_model(model)).inc()
        if worker.id in snapshot.heartbeat_ages_ms:
            age_s = snapshot.heartbeat_ages_ms[worker.id] / 1000
            metrics.worker_heartbeat_age.labels(f"{worker.host}-{worker.pid}").set(max(0, age_s))
