"""Who logs in to a server of the stack: operators, gateways and workers, each with a password of their own."""

import secrets
from dataclasses import astuple, dataclass, field
from typing import Self
from urllib.parse import urlsplit

_PASSWORD_BYTES = 32


@dataclass(frozen=True)
class Passwords:
    """Of one server."""

    operator: str = field(repr=False)
    gateway: str = field(repr=False)
    worker: str = field(repr=False)

    @classmethod
    def new(cls) -> Self:
        """Return passwords that nobody has had."""
        return cls(*(secrets.token_hex(_PASSWORD_BYTES) for _ in range(3)))


@dataclass(frozen=True)
class Logins:
    """By which URL each reaches one server."""

    operator: str = field(repr=False)
    gateway: str = field(repr=False)
    worker: str = field(repr=False)

    @classmethod
    def shared(cls, url: str) -> Self:
        """Return the logins of a server that has a single one for everybody."""
        return cls(url, url, url)

    @classmethod
    def named(cls, operator_url: str, passwords: Passwords, *, prefix: str = "") -> Self:
        """Return those of an operator, and of `<prefix>gateway` and `<prefix>worker` beside it."""
        gateway, worker = (
            logged_in(operator_url, f"{prefix}{name}", password)
            for name, password in (("gateway", passwords.gateway), ("worker", passwords.worker))
        )
        return cls(operator_url, gateway, worker)

    def through(self, url: str) -> Self:
        """Return the same logins at another address, that of `url`."""
        address = urlsplit(url).netloc.rpartition("@")[2]
        return type(self)(*(_with_netloc(each, f"{_login(each)}@{address}") for each in astuple(self)))


def logged_in(url: str, name: str, password: str) -> str:
    """Return `url` with another login."""
    return _with_netloc(url, f"{name}:{password}@{urlsplit(url).netloc.rpartition('@')[2]}")


def _login(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[0]


def _with_netloc(url: str, netloc: str) -> str:
    return urlsplit(url)._replace(netloc=netloc).geturl()
