"""`python -m worker`: serves jobs from Redis with the Ollama beside it."""

import sys

import uvloop

from shared import log
from shared.settings import (
    AppSettings,
    DatabaseSettings,
    RedisSettings,
    SettingsError,
    StreamSettings,
    load,
    read_environment,
)
from worker.main import work
from worker.settings import OllamaSettings, WorkerSettings


def main() -> int:
    """Run until a signal; 2 is the exit code for a wrong setting."""
    environment = read_environment()
    try:
        log.configure(load(AppSettings, environment), role="worker")
        run = work(
            redis_settings=load(RedisSettings, environment),
            database_settings=load(DatabaseSettings, environment),
            streams=load(StreamSettings, environment),
            ollama_settings=load(OllamaSettings, environment),
            settings=load(WorkerSettings, environment),
        )
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201  before there is a log
        return 2
    uvloop.run(run)
    return 0


if __name__ == "__main__":
    sys.exit(main())
