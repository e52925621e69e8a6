"""Runs one gateway process: `python -m gateway`."""

import asyncio
import sys

import uvicorn

from gateway import settings
from gateway.app import create_app
from migrations.upgrade import MigrationError, upgrade
from shared.settings import SettingsError, read_environment

EXIT_FAILED = 1
EXIT_WRONG_SETTINGS = 2


def main() -> int:
    """Serve until SIGTERM or Ctrl-C; return the exit code."""
    try:
        own = settings.read(read_environment())
        if own.migrates_on_start:
            asyncio.run(upgrade(own.database.database_url))
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201  there is no log yet
        return EXIT_WRONG_SETTINGS
    except MigrationError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return EXIT_FAILED
    uvicorn.Server(
        uvicorn.Config(
            create_app(own),
            host=own.server.app_host,
            port=own.server.app_port,
            loop="uvloop",
            http="httptools",
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            proxy_headers=False,  # client_address.py decides whom to believe
            server_header=False,
            timeout_keep_alive=own.server.server_idle_timeout_secs,
            timeout_graceful_shutdown=own.server.gateway_drain_secs,
        )
    ).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
