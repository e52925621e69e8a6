"""`python -m worker`: serves jobs from Redis with the Ollama beside it."""

import sys

import uvloop

from shared import log
from shared.settings import SettingsError, read_environment
from worker import settings
from worker.main import work


def main() -> int:
    """Run until a signal; 2 is the exit code for a wrong setting."""
    try:
        own = settings.read(read_environment())
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201  before there is a log
        return 2
    log.configure(own.app, role="worker")
    uvloop.run(
        work(
            redis_settings=own.redis,
            database_settings=own.database,
            ollama_settings=own.ollama,
            settings=own.worker,
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
