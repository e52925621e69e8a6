"""Reads `Idempotency-Key`: what makes a request that is sent again the same job."""

import re

import msgspec
from msgspec import Struct

from gateway.operation import Parameter
from gateway.principal import AuthenticatedRequest, Principal
from gateway.request_header import single_header
from shared.errors import InvalidRequestError
from shared.idempotency import Idempotency

HEADER = "Idempotency-Key"
PARAMETER = Parameter(
    HEADER,
    "header",
    "Requests with the same key within 24 hours, and the same body, are one job. A request without `Prefer:"
    " respond-async` reads the job of one with it; the reverse is refused (`idempotency_mismatch`).",
    pattern=r"^[ -~]{1,255}$",
)
REPLAYED = {"Idempotent-Replayed": "true"}  # in the answer, as Stripe says it

_key = re.compile(rb"[ -~]{1,255}")
_canonical = msgspec.json.Encoder(order="deterministic")


def idempotency_of(request: AuthenticatedRequest, asked: Struct, *, surface: str) -> Idempotency | None:
    """Return what a request is known by; None: nothing, it is a job of its own.

    Args:
        request: With its key in a header.
        asked: What was understood of its body.
        surface: Where it came in; others have keys of their own.

    Raises:
        InvalidRequestError: Its key is not 1 to 255 printable ASCII characters, or it has several.

    """
    key = single_header(request.scope, HEADER)
    if key is None:
        return None
    if not _key.fullmatch(key):
        raise InvalidRequestError("A key is 1 to 255 printable ASCII characters.", param=HEADER)
    return Idempotency.of(
        key.decode("ascii"), surface=surface, user_id=_owner(request.user), request=_canonical.encode(asked)
    )


def _owner(principal: Principal) -> str:
    """Return whose keys are one: those of all who may read each other's jobs."""
    return f"{principal.user_id} {principal.confined_to}" if principal.confined_to else principal.user_id
