"""`deepersensor keys …`: what is done with API keys, and what is said of it."""

import argparse

import msgspec
from msgspec import Struct

from gateway.admission.limits import Limits
from gateway.api_keys.keyring import MOST_PER_USER, Keyring
from gateway.api_keys.schemas import NewApiKey
from gateway.operators.answers import as_json, as_table
from gateway.operators.errors import WrongUseError
from gateway.operators.users import UserOffice

_COLUMNS = ("id", "name", "prefix", "scopes", "models", "created_at", "expires_at", "last_used_at")


class _Owner(Struct, frozen=True):
    """Whom a key is made for."""

    user_id: str
    limits: Limits = Limits()


async def perform(asked: argparse.Namespace, users: UserOffice, keyring: Keyring) -> str:
    """Do what is asked and return what to print.

    Raises:
        WrongUseError: A name, a scope, a model or a time is none.
        DeeperSensorError: It cannot be done; see `Keyring`.

    """
    wanted = _wanted(asked) if asked.act == "create" else None
    owner = await users.find(asked.who)
    if wanted is not None:
        made = await keyring.make(_Owner(owner.id), wanted)
        return as_json(made) if asked.json else f"{made.key}\nThis is key {made.id}; it is shown only this once."
    if asked.act == "revoke":
        await keyring.revoke(asked.key_id, user_id=owner.id)
        return as_json(_Revoked(asked.key_id)) if asked.json else f"Key {asked.key_id} is revoked."
    page = await keyring.page({"limit": str(MOST_PER_USER)}, user_id=owner.id)
    return as_json(page.data) if asked.json else as_table(page.data, _COLUMNS)


class _Revoked(Struct, frozen=True):
    id: str


def _wanted(asked: argparse.Namespace) -> NewApiKey:
    given = {"name": asked.name, "scopes": asked.scope, "models": asked.model, "expires_at": asked.expires_at}
    try:
        return msgspec.convert({name: value for name, value in given.items() if value is not None}, NewApiKey)
    except msgspec.ValidationError as error:
        raise WrongUseError(f"this is no key that can be made: {error}") from None
