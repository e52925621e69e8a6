"""Reads `Idempotency-Key`: what makes a request that is sent again the same job."""

import re

import msgspec

from gateway.chat.schemas import ChatRequest
from gateway.principal import AuthenticatedRequest
from shared.errors import InvalidRequestError
from shared.idempotency import Idempotency

HEADER = "Idempotency-Key"
KEY_PATTERN = r"^[ -~]{1,255}$"
REPLAYED = {"Idempotent-Replayed": "true"}  # in the answer, as Stripe says it
SURFACE = "/v1"  # shared by the whole answer and the stream; other surfaces have keys of their own

_NAME = HEADER.lower().encode()
_key = re.compile(KEY_PATTERN.replace("$", r"\Z").encode())
_canonical = msgspec.json.Encoder(order="deterministic")


def idempotency_of(request: AuthenticatedRequest, chat: ChatRequest) -> Idempotency | None:
    """Return what a request is known by; None: nothing, it is a job of its own.

    Raises:
        InvalidRequestError: Its key is not 1 to 255 printable ASCII characters, or it has several.

    """
    keys = [value for name, value in request.scope["headers"] if name == _NAME]
    if not keys:
        return None
    if len(keys) > 1 or not _key.match(keys[0]):
        raise InvalidRequestError("A key is 1 to 255 printable ASCII characters, sent once.", param=HEADER)
    return Idempotency.of(
        keys[0].decode("ascii"), surface=SURFACE, user_id=request.user.user_id, request=_canonical.encode(chat)
    )
