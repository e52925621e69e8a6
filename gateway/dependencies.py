"""What handlers can ask for by the name of a parameter.

The fields of `GatewayState` are those names; lifespan.py fills it. Litestar resolves one dependency in 4 µs, but two
side by side in 50, because it starts a task group: a handler on the path of a chat asks for one.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

from litestar import Request
from litestar.di import NamedDependency, Provide
from litestar.params import SkipValidation
from msgspec import Struct, structs
from redis.asyncio import Redis

from gateway.accounts.registration import Registration
from gateway.accounts.sessions import Sessions
from gateway.chat.cancel import Canceller
from gateway.chat.submit import ChatDesk
from gateway.client_address import ClientAddress
from gateway.models.catalog import ModelCatalog
from gateway.principal import Authenticator
from gateway.settings import GatewaySettings
from shared.clock import Clock
from shared.database.engine import Database

T = TypeVar("T")

Injected = NamedDependency[SkipValidation[T]]
"""Marks a handler's parameter as a field of `GatewayState`; pyright is the one that checks its type."""


class GatewayState(Struct, frozen=True):
    """Everything that lives as long as the process."""

    settings: GatewaySettings
    clock: Clock
    redis: Redis
    database: Database
    client_address: ClientAddress
    authenticator: Authenticator
    registration: Registration
    sessions: Sessions
    catalog: ModelCatalog
    chats: ChatDesk
    canceller: Canceller


def provide_state() -> Mapping[str, Provide]:
    """Return a provider for each field of `GatewayState`."""
    return {field.name: _provide(field.name) for field in structs.fields(GatewayState)}


def _provide(name: str) -> Provide:
    async def from_state(request: Request[Any, Any, Any]) -> Any:  # noqa: ANN401  the field's type is the handler's word
        return request.app.state[name]

    return Provide(from_state)
