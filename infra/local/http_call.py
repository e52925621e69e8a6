"""Makes an HTTP request by the standard library: its import costs a tenth of a client library's, at each start."""

import asyncio
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError

import msgspec

_TIMEOUT_S = 5.0


class OutOfReachError(Exception):
    """Nobody answered; the message says why."""


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    body: bytes

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx."""
        return self.status // 100 == 2  # noqa: PLR2004

    def json(self) -> Any:  # noqa: ANN401
        """Return the body's value.

        Raises:
            msgspec.DecodeError: The body is no JSON.

        """
        return msgspec.json.decode(self.body)


async def call(url: str, *, body: object = None, headers: Mapping[str, str] | None = None) -> Answer:
    """GET `url`, or POST `body` to it as JSON, whatever proxies the environment names.

    Raises:
        OutOfReachError: There was no answer within 5 s, or none in HTTP.

    """
    data = None if body is None else msgspec.json.encode(body)
    request = urllib.request.Request(url, data, {**(headers or {}), "Content-Type": "application/json"})  # noqa: S310  our own or the settings'
    return await asyncio.to_thread(_send, request)


def _send(request: urllib.request.Request) -> Answer:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=_TIMEOUT_S) as response:
            return Answer(response.status, response.read())
    except HTTPError as error:
        with error:
            return Answer(error.code, error.read())
    except (OSError, HTTPException, ValueError) as error:
        raise OutOfReachError(str(getattr(error, "reason", error)) or type(error).__name__) from None
