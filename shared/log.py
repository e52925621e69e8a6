"""Logs: one line per event on standard error, as a JSON object or as readable text.

An event is a constant in the past tense, what belongs to it are fields: `log.info("job_finished", extra={...})`.
Ids are bound once, with `bound`, and then stand in every line from inside, whichever library writes it. Prompts,
passwords and tokens are never handed to a logger; what looks like a credential all the same is masked on the way out.
"""

import json
import logging
import re
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

import msgspec

from shared import audit
from shared.settings import AppSettings

OWN_LOGGERS = ("gateway", "worker", "shared", "migrations", "infra", "__main__")
TALKATIVE_LOGGERS = ("arq", "httpcore", "httpx")  # a line or more for each job or request; we have our own

_BUILT_IN = frozenset(vars(logging.makeLogRecord({}))) | {
    "asctime",
    "message",
    "taskName",  # Python 3.12 on
    "color_message",  # uvicorn's message once more, with escape sequences
}
_CREDENTIAL = re.compile(
    r"""(?ix)
    (?P<before>
        \b (?: authorization | (?:(?:access|metrics|refresh|stream)_)?token | password | (?:\w+_)?secret )
            ["'\\]* \s* [=:] \s* ["'\\]* (?: bearer \s+ )?
        | \b bearer \s+
    ) [^\s&,;"'\\]+
    | (?P<scheme> :// [^\s:/@"]* : ) [^\s/@"]+ (?= @ )
    | \b (?:rt|sk)-ds- [\w-]+
    | \b eyJ [\w-]+ \. [\w-]+ \. [\w-]+
    """
)
_HINTS = ("author", "token", "password", "secret", "bearer", "://", "-ds-", "eyj")  # one is in all that matches
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_bound_fields: ContextVar[Mapping[str, object]] = ContextVar("bound_fields", default={})  # noqa: B039  never changed


def configure(settings: AppSettings, *, role: str) -> None:
    """Send everything that this process logs, in the form that `settings` asks for, to standard error.

    Called once, by the `__main__` of a role. Other people's debug lines are left out at every level: they quote what
    goes over the wire.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(role) if settings.log_format == "json" else TextFormatter())
    level = logging.getLevelNamesMapping()[settings.log_level]
    logging.basicConfig(handlers=[handler], level=max(level, logging.INFO), force=True)
    for name in OWN_LOGGERS:
        logging.getLogger(name).setLevel(level)
    for name in TALKATIVE_LOGGERS:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    logging.getLogger(audit.LOGGER).setLevel(logging.INFO)
    logging.captureWarnings(capture=True)


@contextmanager
def bound(**fields: object) -> Generator[None]:
    """Add `fields` to every line logged inside, also by tasks that are started inside."""
    token = _bound_fields.set({**_bound_fields.get(), **fields})
    try:
        yield
    finally:
        _bound_fields.reset(token)


class JsonFormatter(logging.Formatter):
    """One JSON object per line: ts, level, logger, event, role, then the fields, then `exception`."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        line: dict[str, Any] = {
            "ts": _timestamp(record),
            "level": record.levelname,
            "logger": record.name,
            "event": record.getMessage(),
            "role": self._role,
        }
        for name, value in _fields(record).items():
            line.setdefault(name, value)
        if exception := _exception(self, record):
            line["exception"] = exception
        return mask(_encode(line))


class TextFormatter(logging.Formatter):
    """Time, level, event and fields on one line for people; a traceback follows on its own lines."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, or lines, without the end."""
        event = _CONTROL.sub(lambda match: repr(match[0])[1:-1], record.getMessage())
        fields = "".join(f" {name}={_readable(value)}" for name, value in _fields(record).items())
        line = f"{_timestamp(record)} {record.levelname:7} {record.name}: {event}{fields}"
        exception = _exception(self, record)
        return mask(f"{line}\n{exception}" if exception else line)


def mask(text: str) -> str:
    """Return `text` with everything that looks like a credential replaced."""
    lowered = text.lower()
    if not any(hint in lowered for hint in _HINTS):  # seven times faster than to search for the pattern
        return text
    return _CREDENTIAL.sub(lambda match: f"{match['before'] or match['scheme'] or ''}[masked]", text)


def _timestamp(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _fields(record: logging.LogRecord) -> dict[str, object]:
    own = {name: value for name, value in vars(record).items() if name not in _BUILT_IN}
    return {**_bound_fields.get(), **own}


def _exception(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    """Formatted here and not by `Formatter.format`, which would append it to the line."""
    parts = [formatter.formatException(record.exc_info)] if record.exc_info else []
    if record.stack_info:
        parts.append(formatter.formatStack(record.stack_info))
    return "\n".join(parts)


def _encode(line: dict[str, Any]) -> str:
    try:
        return msgspec.json.encode(line, enc_hook=str).decode()
    except (OverflowError, TypeError, ValueError):  # a lone surrogate, a huge number, an odd key: the line is not lost
        return json.dumps(line, default=str, skipkeys=True)


def _readable(value: object) -> str:
    text = str(value)
    return text if text.isprintable() and text and not set(text) & set(' "=') else json.dumps(text)
