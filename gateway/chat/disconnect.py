"""Reads `X-On-Disconnect`: what becomes of a job when its last reader has gone."""

from litestar.types import Scope

from gateway.operation import Parameter
from gateway.request_header import single_header
from shared.errors import InvalidRequestError

HEADER = "X-On-Disconnect"
CANCEL, CONTINUE = b"cancel", b"continue"
PARAMETER = Parameter(
    HEADER,
    "header",
    "`cancel`, as without it: the job ends when nobody reads it any more. `continue`: it runs to its end, but "
    "while it waits unread it is lost with the data of Redis; what `Prefer: respond-async` accepted is not.",
    pattern=f"^({CANCEL.decode()}|{CONTINUE.decode()})$",
)


def needs_readers(scope: Scope) -> bool:
    """Tell whether the job of a request is to be cancelled when nobody reads it any more.

    Raises:
        InvalidRequestError: The header has another value than these two.

    """
    wish = single_header(scope, HEADER)
    if wish not in (None, CANCEL, CONTINUE):
        raise InvalidRequestError("Either `cancel` or `continue`.", param=HEADER)
    return wish != CONTINUE
