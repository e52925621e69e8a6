"""An account of this stack's own, so that the curl which `./dev up` prints works at once."""

import secrets
from http import HTTPStatus
from pathlib import Path

import msgspec
from msgspec import Struct

from infra.local.errors import NoTokenError
from infra.local.http_call import Answer, OutOfReachError, call
from infra.local.secret_file import write_secret

_PASSWORD_BYTES = 24


class DemoAccount(Struct, frozen=True):
    """Who we are to the gateway."""

    email: str
    password: str


def kept_account(file: Path) -> DemoAccount:
    """Return the account in `file`; when there is none, one that nobody else has, and keep it there."""
    if file.exists():
        return msgspec.json.decode(file.read_bytes(), type=DemoAccount)
    account = DemoAccount(f"demo-{secrets.token_hex(4)}@example.com", secrets.token_urlsafe(_PASSWORD_BYTES))
    write_secret(file, msgspec.json.encode(account).decode())
    return account


async def fresh_token(address: str, account: DemoAccount) -> str:
    """Return an access token for `account`, which is signed up when the gateway does not know it.

    Raises:
        NoTokenError: The gateway at `address` is out of reach or refuses.

    """
    try:
        answer = await call(f"{address}/v1/auth/login", body=account)
        if answer.status == HTTPStatus.UNAUTHORIZED:
            _must_succeed(await call(f"{address}/v1/auth/signup", body=account))
            answer = await call(f"{address}/v1/auth/login", body=account)
    except OutOfReachError as error:
        raise NoTokenError(f"no gateway answers at {address}: {error}") from None
    _must_succeed(answer)
    return answer.json()["access_token"]


def _must_succeed(answer: Answer) -> None:
    if not answer.is_success:
        raise NoTokenError(f"the gateway answers {answer.status}: {answer.body.decode(errors='replace')}")
