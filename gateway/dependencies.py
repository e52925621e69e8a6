"""How handlers ask for what lives as long as the process: by the name of a parameter.

The names are the fields of `gateway.state.GatewayState`. Litestar resolves one dependency in 4 µs, but two
side by side in 50, because it starts a task group: a handler on the path of a chat asks for one.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

from litestar import Request
from litestar.di import NamedDependency, Provide
from litestar.params import SkipValidation
from msgspec import Struct, structs

T = TypeVar("T")

Injected = NamedDependency[SkipValidation[T]]
"""Marks a handler's parameter as a field of `GatewayState`; pyright is the one that checks its type."""


def provide_fields(state: type[Struct]) -> Mapping[str, Provide]:
    """Return a provider for each field of `state`."""
    return {field.name: _provide(field.name) for field in structs.fields(state)}


def _provide(name: str) -> Provide:
    async def from_state(request: Request[Any, Any, Any]) -> Any:  # noqa: ANN401  the field's type is the handler's word
        return request.app.state[name]

    return Provide(from_state)
