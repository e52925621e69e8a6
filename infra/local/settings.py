"""What `./dev up` can be told; everything else in its environment goes on to the gateways and workers."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from shared.settings import DatabaseUrl, HttpUrl, Port, RedisUrl, Seconds

Several = Annotated[int, Meta(ge=1, le=64)]


class StackSettings(Struct, frozen=True):
    """The local stack: how much of it, where, and which servers it need not start itself."""

    app_host: Annotated[str, Meta(description="Address that the gateways listen on.", examples=["127.0.0.1"])] = (
        "127.0.0.1"
    )
    app_port: Annotated[
        Port, Meta(description="Port of the first gateway; further ones take the next.", examples=["8000"])
    ] = 8000
    app_env: Annotated[
        Literal["development", "test", "production"],
        Meta(description="Production refuses the demo model.", examples=["development"]),
    ] = "development"
    up_gateways: Annotated[Several, Meta(description="How many gateways to start.", examples=["2"])] = 1
    up_workers: Annotated[Several, Meta(description="How many workers to start.", examples=["3"])] = 1
    state_dir: Annotated[
        str, Meta(min_length=1, description="Holds data, secrets and logs of the stack.", examples=[".state"])
    ] = ".state"
    database_url: Annotated[
        DatabaseUrl,
        Meta(
            description="PostgreSQL to use; unset starts one.",
            examples=["postgresql://deepersensor:secret@127.0.0.1:5432/deepersensor"],
        ),
    ] = ""
    redis_url: Annotated[
        RedisUrl,
        Meta(
            description="Redis or Valkey to use; unset starts one.",
            examples=["redis://127.0.0.1:6379/0"],
        ),
    ] = ""
    ollama_base_url: Annotated[
        HttpUrl,
        Meta(
            description="Ollama to use; where none answers the demo model starts.",
            examples=["http://127.0.0.1:11434"],
        ),
    ] = "http://127.0.0.1:11434"
    schema_enabled: Annotated[bool, Meta(description="Whether /schema/openapi.json is served.", examples=["true"])] = (
        True
    )
    gateway_drain_secs: Annotated[
        Seconds, Meta(description="Requests may take this long to end after Ctrl-C.", examples=["5"])
    ] = 5
    worker_drain_secs: Annotated[
        Seconds, Meta(description="Jobs may take this long to end after Ctrl-C.", examples=["5"])
    ] = 5
