import pytest
from litestar import Litestar, get

from gateway.access import Access, UndeclaredAccessError, check_declared
from gateway.app import create_routes
from gateway.draining import Draining
from gateway.metrics.declared import Metrics
from gateway.principal import Key, Limits, Principal
from gateway.settings import read
from shared.credential import Credential, CredentialKind
from shared.database.users import Role
from shared.errors import ForbiddenError, InsufficientScopeError
from shared.ids import new_id

LIMITS = Limits(requests_per_minute=60)


def somebody(*, role: Role = Role.USER, scopes: frozenset[Access] | None = None) -> Principal:
    id_ = new_id()
    kind = CredentialKind.SESSION if scopes is None else CredentialKind.KEY
    key = None if scopes is None else Key(id=id_, scopes=scopes, models=None)
    return Principal(user_id=new_id(), role=role, limits=LIMITS, credential=Credential(kind, id_), key=key)


@get("/forgotten")
async def forgotten() -> None:
    """Say nothing of who may call it."""


def test_every_route_of_the_gateway_says_who_may_call_it() -> None:
    check_declared(create_routes(read({}), Metrics(), Draining()).routes)


def test_one_that_does_not_is_refused_by_its_name() -> None:
    with pytest.raises(UndeclaredAccessError, match="forgotten does not declare"):
        check_declared(Litestar([forgotten], openapi_config=None).routes)


@pytest.mark.parametrize("access", [Access.ANY_CREDENTIAL, Access.SESSION, Access.CHAT, Access.USAGE])
def test_a_session_may_do_all_but_what_is_for_admins(access: Access) -> None:
    somebody().authorize(access)
    with pytest.raises(ForbiddenError):
        somebody().authorize(Access.ADMIN)
    somebody(role=Role.ADMIN).authorize(Access.ADMIN)


@pytest.mark.parametrize("access", [Access.SESSION, Access.CONVERSATIONS, Access.USAGE, Access.ADMIN])
def test_a_key_may_do_what_its_scopes_name_and_see_whose_it_is(access: Access) -> None:
    key = somebody(role=Role.ADMIN, scopes=frozenset({Access.CHAT}))
    key.authorize(Access.CHAT)
    key.authorize(Access.ANY_CREDENTIAL)
    with pytest.raises(InsufficientScopeError):
        key.authorize(access)
