"""Every metric of the gateway: its type, unit and meaning, and what to do when it moves.

docs/operations.md has the same for readers; a test holds the two together. Labels take few values: routes are
templates, codes those of shared/errors.py, models go through `bounded_model`.
"""

from collections.abc import Sequence

import prometheus_client
from msgspec import Struct
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.process_collector import ProcessCollector

PREFIX = "deepersensor_"
SECONDS = "seconds"
MOST_MODELS = 200  # each costs some sixty time series
OTHER_MODELS = "other"

REQUEST_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
WAIT_BUCKETS_S = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
TOKEN_BUCKETS_S = (0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1)
LAG_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)


class Declaration(Struct, frozen=True):
    """What is known of a metric beside its values."""

    name: str
    type: str  # counter, gauge or histogram, as Prometheus means them
    unit: str
    labels: tuple[str, ...]
    meaning: str
    action: str  # what to do when it moves


class Metrics:
    """The figures of one gateway process."""

    def __init__(self) -> None:
        # A time of creation beside every counter doubles the series and helps only with Prometheus' newest functions.
        prometheus_client.disable_created_metrics()
        self.registry = CollectorRegistry()
        self.declarations: list[Declaration] = []
        self._models: set[str] = set()
        ProcessCollector(registry=self.registry)

        self.http_requests = self._counter(
            "http_requests_total",
            ("method", "route", "status"),
            unit="requests",
            meaning="HTTP requests answered; status 499 stands for clients that left before an answer began.",
            action="On 5xx find the request ids in the log; a rise of 429 or 503 is explained by refusals_total.",
        )
        self.http_request_duration = self._histogram(
            "http_request_duration_seconds",
            ("method", "route"),
            REQUEST_BUCKETS_S,
            meaning="From a request's arrival to the end of its answer, streams included.",
            action="On short routes look at event_loop_lag_seconds, Redis and PostgreSQL; streams last as models take.",
        )
        self.http_requests_in_progress = self._gauge(
            "http_requests_in_progress",
            unit="requests",
            meaning="HTTP requests under way in this process, open streams included.",
            action="Add gateways when it stays near what one process carried in your load test.",
        )
        self.http_disconnects = self._counter(
            "http_disconnects_total",
            ("route",),
            unit="requests",
            meaning="Answers that their client did not wait for.",
            action="Compare with queue_wait_seconds: people leave when they wait; else suspect a proxy's timeout.",
        )
        self.refusals = self._counter(
            "refusals_total",
            ("code",),
            unit="requests",
            meaning="Requests refused for now, by error code: rate_limited, queue_full, no_worker, store_unavailable …",
            action="queue_full and no_worker: add or repair workers. store_unavailable: repair Redis or PostgreSQL.",
        )
        self.rate_limit_refusals = self._counter(
            "rate_limit_refusals_total",
            ("scope", "unit"),
            unit="requests",
            meaning="Requests refused by a limit, by whose it is, and of what: requests, tokens, jobs or streams.",
            action="user: raise RATE_LIMIT_* if wanted. address: an attack, or TRUSTED_PROXY_IPS lacks a proxy.",
        )

        self.jobs = self._counter(
            "jobs_total",
            ("model", "outcome"),
            unit="jobs",
            meaning="Ends of jobs relayed here, and of durable ones stored here: completed, client_gone or a code.",
            action="worker_lost and upstream_*: look into the worker's and Ollama's log. expired: add workers.",
        )
        self.queue_wait = self._histogram(
            "queue_wait_seconds",
            ("model",),
            WAIT_BUCKETS_S,
            meaning="From admission to the claim by a worker, of jobs that completed.",
            action="Add workers for the model, or lower QUEUE_MAX_DEPTH to refuse earlier.",
        )
        self.time_to_first_token = self._histogram(
            "time_to_first_token_seconds",
            ("model",),
            WAIT_BUCKETS_S,
            meaning="From a request's admission to the first piece of its answer, waiting and loading included.",
            action="If queue_wait_seconds moved too, add workers; if not, the model is loaded anew too often.",
        )
        self.time_per_output_token = self._histogram(
            "time_per_output_token_seconds",
            ("model",),
            TOKEN_BUCKETS_S,
            meaning="Mean time between the tokens of one answer after its first.",
            action="The GPU is shared by too many slots, or the model does not fit it: lower WORKER_SLOTS.",
        )
        self.tokens = self._counter(
            "tokens_total",
            ("model", "kind"),
            unit="tokens",
            meaning="Tokens of completed answers as Ollama counted them; kind is prompt or completion.",
            action="It is the throughput you pay for; a fall under a standing queue means that workers are slow.",
        )

        self.redis_up = self._gauge(
            "redis_up",
            unit="0 or 1",
            meaning="Whether Redis answered this scrape; without it the figures of queues and workers are missing.",
            action="At 0 nothing is admitted: repair Redis.",
        )
        self.queue_depth = self._gauge(
            "queue_depth",
            ("model",),
            unit="jobs",
            meaning="Jobs that wait for a worker.",
            action="Scale workers by it. At QUEUE_MAX_DEPTH further jobs are refused.",
        )
        self.queue_delayed = self._gauge(
            "queue_delayed",
            ("model",),
            unit="jobs",
            meaning="Jobs that wait for their next attempt after a failure.",
            action="Ollama fails: look for upstream_* in the workers' log.",
        )
        self.queue_oldest_age = self._gauge(
            "queue_oldest_age_seconds",
            ("model",),
            unit=SECONDS,
            meaning="How long the job that waits longest has waited; 0 when none waits.",
            action="Alert on it: it rises without end when no worker takes the model's jobs.",
        )
        self.jobs_running = self._gauge(
            "jobs_running",
            ("model",),
            unit="jobs",
            meaning="Jobs in the hands of workers.",
            action="Below model_slots while queue_depth is above 0, workers do not claim: look into their log.",
        )
        self.jobs_unstored = self._gauge(
            "jobs_unstored",
            unit="jobs",
            meaning="Jobs that have ended and whose end PostgreSQL lacks still; readers of durable ones wait for it.",
            action="Above 0 for more than a second PostgreSQL takes nothing: repair it. Nothing is lost meanwhile.",
        )
        self.model_slots = self._gauge(
            "model_slots",
            ("model",),
            unit="jobs",
            meaning="Jobs of the model that the live workers can run at once.",
            action="At 0 the model's jobs wait: start a worker whose Ollama has it.",
        )
        self.model_loaded = self._gauge(
            "model_loaded",
            ("model",),
            unit="workers",
            meaning="Live workers that have the model in memory.",
            action="If it keeps changing, models displace each other: give them hosts of their own.",
        )
        self.model_resting = self._gauge(
            "model_resting",
            ("model",),
            unit="workers",
            meaning="Live workers that do not offer the model, because its jobs failed there one after the other.",
            action="Look for upstream_* in those workers' logs and repair their Ollama; it comes back by itself.",
        )
        self.workers = self._gauge(
            "workers",
            ("state",),
            unit="workers",
            meaning="Workers alive, by state: serving or draining.",
            action="Alert when serving is below what you run: a worker died or lost Redis.",
        )
        self.worker_heartbeat_age = self._gauge(
            "worker_heartbeat_age_seconds",
            ("worker",),
            unit=SECONDS,
            meaning="Since a live worker last renewed its lease, due every 0.5 s; beyond 3 s it counts as dead.",
            action="Above 1 the worker's host or its way to Redis is overloaded.",
        )

        self.worker_tasks = self._gauge(
            "worker_tasks",
            ("worker",),
            unit="tasks",
            meaning="Tasks of a live worker's event loop, as it announced them last, every 5 s.",
            action="A rise without end at the same load is a leak: please report it with the worker's log.",
        )

        self.event_loop_lag = self._histogram(
            "event_loop_lag_seconds",
            (),
            LAG_BUCKETS_S,
            meaning="How late a timer of this process fires: the wait of everything that is ready to run.",
            action="Above 0.05 every stream stutters: add gateways.",
        )
        self.asyncio_tasks = self._gauge(
            "asyncio_tasks",
            unit="tasks",
            meaning="Tasks of this process's event loop: a few for itself, about two for each request under way.",
            action="A rise without end at the same load is a leak: please report it with the log.",
        )

    def bounded_model(self, model: str) -> str:
        """Return `model` as a label; beyond MOST_MODELS different ones all others share one."""
        if model not in self._models:
            if len(self._models) >= MOST_MODELS:
                return OTHER_MODELS
            self._models.add(model)
        return model

    def _counter(self, name: str, labels: Sequence[str], *, unit: str, meaning: str, action: str) -> Counter:
        self._declare(name, "counter", unit, labels, meaning, action)
        return Counter(PREFIX + name, meaning, labels, registry=self.registry)

    def _gauge(self, name: str, labels: Sequence[str] = (), *, unit: str, meaning: str, action: str) -> Gauge:
        self._declare(name, "gauge", unit, labels, meaning, action)
        return Gauge(PREFIX + name, meaning, labels, registry=self.registry, unit=SECONDS if unit == SECONDS else "")

    def _histogram(
        self, name: str, labels: Sequence[str], buckets: Sequence[float], *, meaning: str, action: str
    ) -> Histogram:
        self._declare(name, "histogram", SECONDS, labels, meaning, action)
        return Histogram(PREFIX + name, meaning, labels, registry=self.registry, unit=SECONDS, buckets=buckets)

    def _declare(self, name: str, kind: str, unit: str, labels: Sequence[str], meaning: str, action: str) -> None:
        self.declarations.append(Declaration(PREFIX + name, kind, unit, tuple(labels), meaning, action))
