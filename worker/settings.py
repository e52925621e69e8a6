"""What a worker can be told."""

from typing import Annotated

from msgspec import Meta, Struct

from shared.settings import Millis, Seconds


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
        str,
        Meta(pattern=r"^https?://[^/]+/?$", description="This worker's Ollama.", examples=["http://127.0.0.1:11434"]),
    ] = "http://127.0.0.1:11434"
    ollama_default_timeout_ms: Annotated[
        Millis, Meta(description="Longest silence of a running generation.", examples=["30000"])
    ] = 30_000
    ollama_first_token_timeout_ms: Annotated[
        Millis, Meta(description="Longest wait for the first token of a loaded model.", examples=["60000"])
    ] = 60_000
    max_answer_bytes: Annotated[
        int, Meta(ge=1024, le=1 << 30, description="Longest answer kept in the log.", examples=["4194304"])
    ] = 4 * 1024 * 1024
