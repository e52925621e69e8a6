"""Serves `/metrics` on a port of its own, for networks where the API's port is open to others than Prometheus."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from litestar import Litestar
from litestar.di import Provide
from litestar.types import ASGIApp

from gateway.error_responses import EXCEPTION_HANDLERS
from gateway.http_protocol import http_protocol
from gateway.metrics.routes import metrics_routes
from gateway.metrics.scrape import Scraper
from gateway.metrics.settings import MetricsSettings
from gateway.response_headers import ResponseHeaders
from gateway.server_settings import ServerSettings
from shared.settings import SettingsError

CLOSE_WITHIN_S = 1  # for a scrape that is under way when the process stops


class _SecondServer(uvicorn.Server):
    """A server beside another one in the same process, which is the one that obeys signals."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


def listen(settings: MetricsSettings) -> socket.socket | None:
    """Return a socket on which metrics are to be served by themselves; None: they are not.

    Raises:
        SettingsError: It is impossible to listen there.

    """
    if settings.own_address is None:
        return None
    host, port = settings.own_address
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        raise SettingsError(
            f"PROMETHEUS_BIND is wrong: cannot listen there ({error}). Example: PROMETHEUS_BIND=127.0.0.1:9090"
        ) from error


def create_metrics_app(scraper: Scraper, settings: MetricsSettings, server: ServerSettings) -> ASGIApp:
    """Return an application that has `/metrics` and nothing else."""

    def provide_scraper() -> Scraper:
        return scraper

    app = Litestar(
        route_handlers=[metrics_routes(settings.metrics_token)],
        dependencies={"scraper": Provide(provide_scraper, sync_to_thread=False)},
        exception_handlers=EXCEPTION_HANDLERS,
        openapi_config=None,
        logging_config=None,
    )
    return ResponseHeaders(app, request_id_header=server.request_id_header)


@asynccontextmanager
async def served_on(listener: socket.socket, app: ASGIApp, server: ServerSettings) -> AsyncGenerator[None]:
    """Serve `app` inside the block with the same patience as the API, and close the socket at its end."""
    config = uvicorn.Config(
        app,
        http=http_protocol(server),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=server.server_idle_timeout_secs,
        timeout_graceful_shutdown=CLOSE_WITHIN_S,
    )
    second = _SecondServer(config)
    serving = asyncio.create_task(second.serve([listener]))
    try:
        yield
    finally:
        second.should_exit = True
        await serving
