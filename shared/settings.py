"""Reads settings from the environment once and hands them out as frozen groups.

A group is a frozen msgspec Struct; the variable's name is the field's name in upper case, its meaning, range and
example stand in the field's `Meta`. There `extra` may have `expected`, a pattern in words, `fault`, which is asked
about a value and answers None or what is wrong with it, and `secret`, whose value no group shows (shared/secret.py).
`env.sample` is checked against the groups by a test.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin
from urllib.parse import SplitResult, parse_qs, urlsplit

import msgspec
from dotenv import dotenv_values
from msgspec import Meta, Struct

from shared.secret import Secret

Group = TypeVar("Group", bound=Struct)

Port = Annotated[int, Meta(ge=1, le=65_535)]
Millis = Annotated[int, Meta(ge=1, le=86_400_000)]
Seconds = Annotated[int, Meta(ge=0, le=31_536_000)]
PositiveSeconds = Annotated[int, Meta(ge=1, le=31_536_000)]


_HIGHEST_PORT = 65_535


def redis_url_fault(url: str) -> str | None:
    """Return None when redis-py can make sense of `url`, or what is wrong with it; never a part of it."""
    parts = _split(url)
    if parts is None or parts.scheme not in ("redis", "rediss", "unix"):
        return "expected a URL that begins with redis://, rediss:// or unix://"
    if parts.scheme == "unix":
        return None if parts.path else "it names no socket"
    databases = [parts.path.strip("/"), *parse_qs(parts.query).get("db", [])]
    if not all(database == "" or (database.isascii() and database.isdigit()) for database in databases):
        return "expected the number of a database after the last slash"
    return _address_fault(parts)


def http_url_fault(url: str) -> str | None:
    """Return None when `url` is http:// or https:// with an address and no path, or what is wrong with it."""
    parts = _split(url)
    if parts is None or parts.scheme not in ("http", "https") or parts.path not in ("", "/"):
        return "expected http:// or https:// with host and port, and no path"
    return _address_fault(parts)


def _split(url: str) -> SplitResult | None:
    try:
        return None if any(map(str.isspace, url)) else urlsplit(url)
    except ValueError:  # a bracket without its pair
        return None


def _address_fault(parts: SplitResult) -> str | None:
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        return f"its port is no whole number from 1 to {_HIGHEST_PORT}"
    return None if parts.hostname else "it names no host"


SECRET = {"secret": True}  # a name, no secret  # nosec B105
"""Marks a setting, as the `extra` of its `Meta`, that is or contains a secret."""

RedisUrl = Annotated[str, Meta(extra={"fault": redis_url_fault, **SECRET})]
HttpUrl = Annotated[str, Meta(extra={"fault": http_url_fault})]
DatabaseUrl = Annotated[
    str,
    Meta(
        pattern=r"^(postgres|postgresql|postgresql\+asyncpg)://.+",
        extra={"expected": "a URL that begins with postgresql://", **SECRET},
    ),
]


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
        RedisUrl,
        Meta(
            description="Redis 7 or Valkey 8, or later.",
            examples=["redis://127.0.0.1:6379/0"],
        ),
    ] = "redis://127.0.0.1:6379/0"


class DatabaseSettings(Struct, frozen=True):
    """Where PostgreSQL is."""

    database_url: Annotated[
        DatabaseUrl,
        Meta(
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
    """How long what was streamed can be read again; the gateway that admits a job decides."""

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
        except msgspec.ValidationError:
            fault = f"expected {_expected(field.type)}"
        else:
            fault = _own_fault(field.type, values[field.name])
        if fault:
            raise SettingsError(f"{variable} is wrong: {fault}. Example: {_example(variable, field.type)}")
        if is_secret(field.type):
            values[field.name] = Secret(text)
    return group(**values)


def is_secret(annotation: Any) -> bool:  # noqa: ANN401  a type form
    """Tell whether values of a setting of this type are hidden."""
    return any(meta.extra and meta.extra.get("secret") for meta in _metas(annotation))


def _own_fault(annotation: Any, value: object) -> str | None:  # noqa: ANN401  a type form
    for meta in _metas(annotation):
        if meta.extra and "fault" in meta.extra and (fault := meta.extra["fault"](value)):
            return fault
    return None


def _expected(annotation: Any) -> str:  # noqa: ANN401  a type form
    """Return in words what values `annotation` takes."""
    metas = list(_metas(annotation))
    for meta in metas:
        if meta.extra and "expected" in meta.extra:
            return meta.extra["expected"]
    kind = get_args(annotation)[0] if metas else annotation
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(map(str, get_args(kind)))
    if kind is bool or bool in get_args(kind):
        return "true or false"
    if NoneType in get_args(kind):
        return _expected(next(choice for choice in get_args(kind) if choice is not NoneType))
    if kind in (int, float):
        lowest = next((meta.ge for meta in metas if meta.ge is not None), None)
        highest = next((meta.le for meta in metas if meta.le is not None), None)
        bounds = "" if lowest is None else f" from {lowest} to {highest}" if highest else f" of at least {lowest}"
        return f"a {'whole ' if kind is int else ''}number{bounds}"
    return "another text"


def _metas(annotation: Any) -> Iterator[Meta]:  # noqa: ANN401  a type form
    if get_origin(annotation) is Annotated:
        yield from (meta for meta in get_args(annotation)[1:] if isinstance(meta, Meta))


def _example(variable: str, annotation: Any) -> str:  # noqa: ANN401  a type form
    for meta in _metas(annotation):
        if meta.examples:
            return f"{variable}={meta.examples[0]}"
    return f"{variable}=…"
