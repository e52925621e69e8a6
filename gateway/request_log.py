"""Logs and counts every request once, when its answer has ended: also those that no route took, and streams.

Every line that is logged while it is answered has the address that it came from.
"""

import logging
from collections.abc import Awaitable
from functools import cache
from typing import Any

from litestar.connection import ASGIConnection
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send
from prometheus_client import Counter, Histogram

from gateway.client_address import ClientAddress
from gateway.error_responses import CLIENT_CLOSED_REQUEST
from gateway.metrics.declared import Metrics
from shared.clock import Clock
from shared.log import bound

NO_ROUTE = "none"
OTHER_METHOD = "other"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
PROBES = frozenset({"/health", "/health/ready", "/metrics"})  # asked every few seconds, and of no interest when well

_log = logging.getLogger(__name__)


class RequestLog:
    """ASGI middleware around all others but the one that names the request."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics, client_address: ClientAddress, clock: Clock) -> None:
        self._app = app
        self._metrics = metrics
        self._client_address = client_address
        self._clock = clock
        self._in_progress = 0
        metrics.http_requests_in_progress.set_function(lambda: self._in_progress)
        self._series = cache(self._find_series)  # looking them up anew costs a request 6 µs

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; lifespan events pass untouched."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started_s = self._clock.monotonic_s()
        answer = _Answer(send)
        self._in_progress += 1
        connection: ASGIConnection[Any, Any, Any, Any] = ASGIConnection(scope)
        with bound(client_address=self._client_address.of(connection)):
            try:
                await self._app(scope, receive, answer.send)
            finally:
                self._in_progress -= 1
                self._record(scope, answer, self._clock.monotonic_s() - started_s)

    def _record(self, scope: HTTPScope, answer: "_Answer", duration_s: float) -> None:
        method = scope["method"] if scope["method"] in METHODS else OTHER_METHOD
        status = answer.status or CLIENT_CLOSED_REQUEST
        route = scope.get("path_template", NO_ROUTE)
        requests, durations = self._series(method, route, status)
        requests.inc()
        durations.observe(duration_s)
        fields: dict[str, object] = {
            "method": method,
            "route": route,
            "status": status,
            "duration_ms": round(duration_s * 1000, 1),
        }
        if user := scope.get("user"):
            fields["user_id"] = user.user_id
        if answer.job_id:
            fields["job_id"] = answer.job_id
        if not answer.whole:
            fields["client_gone"] = True
            self._metrics.http_disconnects.labels(route).inc()
        quiet = route in PROBES and answer.whole and status < CLIENT_CLOSED_REQUEST
        _log.log(logging.DEBUG if quiet else logging.INFO, "request_finished", extra=fields)

    def _find_series(self, method: str, route: str, status: int) -> tuple[Counter, Histogram]:
        metrics = self._metrics
        return metrics.http_requests.labels(method, route, status), metrics.http_request_duration.labels(method, route)


class _Answer:
    """What can be seen of an answer as it passes."""

    def __init__(self, send: Send) -> None:
        self.status = 0  # 0: no answer has begun
        self.whole = False  # whether its end was sent
        self.job_id = ""
        self._send = send

    # Not `async`: a coroutine of its own for every token of a stream would only pass the message on.
    def send(self, message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            for name, value in message["headers"]:
                if name == b"x-job-id":
                    self.job_id = value.decode()
        elif message["type"] == "http.response.body" and not message.get("more_body"):
            self.whole = True
        return self._send(message)
