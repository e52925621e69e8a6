"""Runs one gateway process: `python -m gateway`."""

import asyncio
import logging
import signal
import sys
from errno import EACCES, EADDRINUSE
from socket import (
    AF_INET6,
    AI_PASSIVE,
    IPPROTO_IPV6,
    IPV6_V6ONLY,
    SO_REUSEADDR,
    SOCK_STREAM,
    SOL_SOCKET,
    getaddrinfo,
    socket,
)
from types import FrameType
from typing import NoReturn

import uvicorn

from gateway import settings
from gateway.app import create_app
from gateway.draining import Draining
from gateway.http_protocol import http_protocol
from gateway.metrics.own_port import listen
from gateway.server_settings import ServerSettings
from gateway.settings import GatewaySettings
from migrations.upgrade import MigrationError, upgrade
from shared import log
from shared.settings import SettingsError, read_environment

EXIT_FAILED = 1
EXIT_WRONG_SETTINGS = 2
LAST_WORDS_S = 1  # of GATEWAY_DRAIN_SECS: what still runs then is answered

logger = logging.getLogger(__name__)


def main() -> int:
    """Serve until SIGTERM or Ctrl-C; return the exit code."""
    # uvicorn drains when it gets one of these and then raises it again, which would end us as if we had been killed.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    try:
        own = settings.read(read_environment())
        log.configure(own.app, role="gateway")
        listeners = _bind(own.server)
        metrics_listener = listen(own.metrics)
        if own.migrates_on_start:
            revision = asyncio.run(upgrade(own.database.database_url))
            logger.info("schema_brought_up_to_date", extra={"revision": revision})
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201  there is no log yet
        return EXIT_WRONG_SETTINGS
    except MigrationError as error:
        print(error, file=sys.stderr)  # noqa: T201  one line, whatever the log's form
        return EXIT_FAILED
    serve(own, listeners, metrics_listener)
    return 0


def _end(_: int, __: FrameType | None) -> NoReturn:
    sys.exit(0)


def _bind(server: ServerSettings) -> list[socket]:
    """Return sockets that nobody can connect to yet: uvicorn listens on them once it serves.

    Raises:
        SettingsError: The port is taken or not ours to take, or there is no such address here.

    """
    host, port = server.app_host, server.app_port
    listeners: list[socket] = []
    try:
        for family, kind, protocol, _, address in getaddrinfo(host, port, type=SOCK_STREAM, flags=AI_PASSIVE):
            listener = socket(family, kind, protocol)
            listeners.append(listener)
            listener.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
            if family == AF_INET6:
                listener.setsockopt(IPPROTO_IPV6, IPV6_V6ONLY, 1)  # `::` leaves the port of 0.0.0.0 alone
            listener.bind(address)
    except (OSError, UnicodeError) as error:
        for listener in listeners:
            listener.close()
        fault = (getattr(error, "strerror", None) or str(error)).lower()
        if getattr(error, "errno", None) in (EADDRINUSE, EACCES):
            raise SettingsError(
                f"APP_PORT={port}: cannot listen there on {host}, {fault}. Example: APP_PORT=8100"
            ) from None
        raise SettingsError(f"APP_HOST={host}: cannot listen there, {fault}. Example: APP_HOST=127.0.0.1") from None
    return listeners


def serve(own: GatewaySettings, listeners: list[socket], metrics_listener: socket | None) -> None:
    """Run uvicorn in this process until it is told to stop."""
    drain_s = max(own.server.gateway_drain_secs, LAST_WORDS_S)
    draining = Draining()
    _DrainingServer(
        draining,
        uvicorn.Config(
            create_app(own, metrics_listener=metrics_listener, draining=draining),
            loop="uvloop",
            http=http_protocol(own.server),
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            proxy_headers=False,  # client_address.py decides whom to believe
            server_header=False,
            timeout_keep_alive=own.server.server_idle_timeout_secs,
            timeout_graceful_shutdown=drain_s,
        ),
        runs_out_after_s=drain_s - LAST_WORDS_S,
    ).run(listeners)


class _DrainingServer(uvicorn.Server):
    """Says that it stops before it waits for its connections to end, and again before it cuts them."""

    def __init__(self, draining: Draining, config: uvicorn.Config, *, runs_out_after_s: float) -> None:
        super().__init__(config)
        self._draining = draining
        self._runs_out_after_s = runs_out_after_s

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        self._draining.begun.come()
        asyncio.get_running_loop().call_later(self._runs_out_after_s, self._draining.running_out.come)
        await super().shutdown(sockets)


if __name__ == "__main__":
    sys.exit(main())
