"""Reads a header that may be sent at most once: two values would leave it to chance which of them counts."""

from litestar.types import Scope

from shared.errors import InvalidRequestError


def single_header(scope: Scope, name: str) -> bytes | None:
    """Return the value of a request's header as it was sent; None: there is none.

    Raises:
        InvalidRequestError: It was sent more than once.

    """
    wanted = name.lower().encode()
    values = [value for name_, value in scope["headers"] if name_ == wanted]
    if len(values) > 1:
        raise InvalidRequestError("The header may be sent once.", param=name)
    return values[0] if values else None
