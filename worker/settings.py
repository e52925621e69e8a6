"""What a worker can be told."""

from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta, Struct

from shared.database import engine
from shared.settings import (
    AppSettings,
    DatabaseSettings,
    HttpUrl,
    Millis,
    RedisSettings,
    Seconds,
    load,
)


class WorkerSettings(Struct, frozen=True):
    """How much one worker takes on."""

    worker_slots: Annotated[
        int,
        Meta(ge=1, le=10_000, description="Jobs at once per model; match OLLAMA_NUM_PARALLEL.", examples=["4"]),
    ] = 4
    worker_max_jobs: Annotated[
        int, Meta(ge=1, le=10_000, description="Jobs at once over all models.", examples=["16"])
    ] = 16
    worker_drain_secs: Annotated[
        Seconds, Meta(description="How long running jobs may take to end after SIGTERM.", examples=["60"])
    ] = 60


class OllamaSettings(Struct, frozen=True):
    """Where Ollama is and how long it may take."""

    ollama_base_url: Annotated[
        HttpUrl, Meta(description="This worker's Ollama.", examples=["http://127.0.0.1:11434"])
    ] = "http://127.0.0.1:11434"
    ollama_default_timeout_ms: Annotated[
        Millis, Meta(description="Longest silence of a running generation.", examples=["30000"])
    ] = 30_000
    ollama_first_token_timeout_ms: Annotated[
        Millis, Meta(description="Longest wait for the first token of a loaded model.", examples=["60000"])
    ] = 60_000
    ollama_retry_delay_ms: Annotated[
        Millis,
        Meta(
            description="Until a failed job is tried again elsewhere, half to one and a half of it.", examples=["200"]
        ),
    ] = 200
    ollama_breaker_threshold: Annotated[
        int, Meta(ge=1, le=1000, description="Jobs of a model that fail in a row until it rests.", examples=["5"])
    ] = 5
    max_answer_bytes: Annotated[
        int, Meta(ge=1024, le=1 << 30, description="Longest answer kept in the log.", examples=["4194304"])
    ] = 4 * 1024 * 1024


class Settings(Struct, frozen=True):
    """All that a worker process is told from outside."""

    app: AppSettings
    redis: RedisSettings
    database: DatabaseSettings
    ollama: OllamaSettings
    worker: WorkerSettings


def read(environment: Mapping[str, str]) -> Settings:
    """Fill every group from `environment`.

    Raises:
        SettingsError: A value is wrong.

    """
    return Settings(
        app=load(AppSettings, environment),
        redis=load(RedisSettings, environment),
        database=engine.load_settings(environment),
        ollama=load(OllamaSettings, environment),
        worker=load(WorkerSettings, environment),
    )
