"""Reads settings from the environment once and hands them out as frozen groups.

A group is a frozen msgspec Struct; the variable's name is the field's name in upper case, its meaning, range and
example stand in the field's `Meta`. `env.sample` is checked against the groups by a test.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import msgspec
from dotenv import dotenv_values
from msgspec import Meta, Struct

Group = TypeVar("Group", bound=Struct)

Port = Annotated[int, Meta(ge=1, le=65_535)]
Millis = Annotated[int, Meta(ge=1, le=86_400_000)]
Seconds = Annotated[int, Meta(ge=0, le=31_536_000)]
PositiveSeconds = Annotated[int, Meta(ge=1, le=31_536_000)]


class SettingsError(Exception):
    """A variable has a wrong value; the message is one line: its name, the fault, an example."""


class AppSettings(Struct, frozen=True):
    """What every role needs to know about where it runs."""

    app_env: Annotated[
        Literal["development", "test", "production"],
        Meta(description="Where this runs; production refuses weak secrets.", examples=["production"]),
    ] = "development"
    app_name: Annotated[
        str, Meta(min_length=1, description="Name in logs and documents.", examples=["deepersensor"])
    ] = "deepersensor"
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"],
        Meta(description="Lowest level logged.", examples=["INFO"]),
    ] = "INFO"
    log_format: Annotated[
        Literal["json", "text"], Meta(description="One JSON object or one readable line.", examples=["json"])
    ] = "json"
    git_sha: Annotated[str, Meta(description="The commit that was built, shown by /health.", examples=["4f2c1de"])] = (
        "unknown"
    )


class RedisSettings(Struct, frozen=True):
    """Where Redis or Valkey is."""

    redis_url: Annotated[
        str,
        Meta(
            pattern=r"^(redis|rediss|unix)://.+",
            description="Redis 7 or Valkey 8, or later.",
            examples=["redis://127.0.0.1:6379/0"],
        ),
    ] = "redis://127.0.0.1:6379/0"


class DatabaseSettings(Struct, frozen=True):
    """Where PostgreSQL is."""

    database_url: Annotated[
        str,
        Meta(
            pattern=r"^(postgres|postgresql|postgresql\+asyncpg)://.+",
            description="PostgreSQL 15 or later.",
            examples=["postgresql://deepersensor:secret@127.0.0.1:5432/deepersensor"],
        ),
    ] = "postgresql://deepersensor@127.0.0.1:5432/deepersensor"
    migrate_on_start: Annotated[
        bool | None,
        Meta(
            description="Bring the schema up to date at start; unset means: outside production.",
            examples=["true"],
        ),
    ] = None


class StreamSettings(Struct, frozen=True):
    """How long what was streamed can be read again; gateway and worker must agree."""

    stream_retention_secs: Annotated[
        PositiveSeconds, Meta(description="How long a finished job's stream can be replayed.", examples=["3600"])
    ] = 3600


def read_environment(dotenv: Path = Path(".env")) -> dict[str, str]:
    """Return the process environment over the values of the `.env` file, if there is one."""
    values = {name: value for name, value in dotenv_values(dotenv).items() if value is not None}
    return {**values, **os.environ}  # noqa: TID251  the one place that reads it


def load(group: type[Group], environment: Mapping[str, str]) -> Group:
    """Fill `group` from `environment`; a variable that is absent or empty takes its default.

    Raises:
        SettingsError: A value is not what the field's type and `Meta` ask for, or a required one is missing.

    """
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(group):
        variable = field.name.upper()
        text = environment.get(variable, "")
        if text == "":
            if field.required:
                raise SettingsError(f"{variable} is not set. Example: {_example(variable, field.type)}")
            continue
        try:
            values[field.name] = msgspec.convert(text, field.type, strict=False)
        except msgspec.ValidationError as error:
            fault = str(error)[0].lower() + str(error)[1:]
            raise SettingsError(f"{variable} is wrong: {fault}. Example: {_example(variable, field.type)}") from None
    return group(**values)


def _example(variable: str, annotation: Any) -> str:  # noqa: ANN401  a type form
    if get_origin(annotation) is Annotated:
        for meta in get_args(annotation)[1:]:
            if isinstance(meta, Meta) and meta.examples:
                return f"{variable}={meta.examples[0]}"
    return f"{variable}=…"
