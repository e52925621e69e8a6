"""`/v1/api-keys`: what programs come in with. A key makes no keys: people do who have logged in."""

from litestar import Router, delete, get, post
from litestar.params import FromPath

from gateway import paging
from gateway.access import Access
from gateway.admission.limited_routes import LimitByUser
from gateway.api_keys.keyring import Keyring
from gateway.api_keys.schemas import ApiKeyPage, CreatedApiKey, NewApiKey
from gateway.dependencies import Injected
from gateway.operation import Operation
from gateway.principal import AuthenticatedRequest, RequirePrincipal
from gateway.request_body import JsonBody
from shared.errors import (
    InvalidRequestError,
    LimitAboveOwnersError,
    NotFoundError,
    StoreUnavailableError,
    TooManyApiKeysError,
)

_new_key = JsonBody(NewApiKey)


@post(
    "/",
    summary="Make an API key",
    access=Access.SESSION,
    operation=Operation(body=NewApiKey, errors=[TooManyApiKeysError, LimitAboveOwnersError, StoreUnavailableError]),
)
async def create_api_key(request: AuthenticatedRequest, keyring: Injected[Keyring]) -> CreatedApiKey:
    """Return a new key: `key` is shown this once, and what is kept cannot be turned back into it.

    It may do what its `scopes` name, with the `models` that it lists, until `expires_at`; whatever is left out is not
    restricted. A key that is not for all models, or not for conversations, reads, lists and stops only jobs that it has
    asked for itself. `limits` may only be lower than the caller's own, which go on to hold for all of their keys
    together.
    """
    return await keyring.make(request.user, await _new_key.read(request))


@get(
    "/",
    summary="List the caller's API keys",
    access=Access.SESSION,
    operation=Operation(errors=[InvalidRequestError, StoreUnavailableError], parameters=paging.PARAMETERS),
)
async def list_api_keys(request: AuthenticatedRequest, keyring: Injected[Keyring]) -> ApiKeyPage:
    """Return the caller's keys, newest first, those that have expired included; `prefix` is what a key begins with."""
    return await keyring.page(request.query_params, user_id=request.user.user_id)


@delete(
    "/{key_id:str}",
    summary="Revoke an API key",
    access=Access.SESSION,
    operation=Operation(errors=[NotFoundError, StoreUnavailableError]),
)
async def revoke_api_key(request: AuthenticatedRequest, key_id: FromPath[str], keyring: Injected[Keyring]) -> None:
    """Revoke a key of the caller's: it lets nobody in any more, and the streams that it opened end, within 5 s."""
    await keyring.revoke(key_id, user_id=request.user.user_id)


api_key_routes = Router(
    "/v1/api-keys",
    route_handlers=[create_api_key, list_api_keys, revoke_api_key],
    middleware=[RequirePrincipal, LimitByUser],
    tags=["api keys"],
)
