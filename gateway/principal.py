"""Who makes a request. Behind this point nothing sees a credential."""

from typing import Protocol

from litestar import Request
from litestar.datastructures import State
from litestar.types import ASGIApp, Receive, Scope, Send
from msgspec import Struct

from gateway.access import Access, access_of
from gateway.admission.limited_routes import charge_address
from gateway.admission.limits import Limits, Priority
from shared.credential import Credential
from shared.database.users import Role
from shared.errors import ForbiddenError, InsufficientScopeError, ModelNotAllowedError, UnauthenticatedError
from shared.model_names import whole_name

_SCHEME = b"bearer "


class Key(Struct, frozen=True):
    """What the API key allows that a request was made with."""

    id: str
    scopes: frozenset[Access]
    models: frozenset[str] | None  # whole names; None: all
    limits: Limits = Limits()  # its own, beside its owner's


class Principal(Struct, frozen=True):
    """An authenticated user."""

    user_id: str
    role: Role
    limits: Limits  # the user's own, whatever the credential
    credential: Credential
    key: Key | None  # None: it is a session

    @property
    def is_batch(self) -> bool:
        """Whether their jobs let those of others go first."""
        return Priority.BATCH in (self.limits.priority, self.key and self.key.limits.priority)

    @property
    def effective_limits(self) -> Limits:
        """What they may take with this credential."""
        return self.limits.lowered_by(self.key.limits) if self.key else self.limits

    def authorize(self, access: Access) -> None:
        """Accept somebody who may call a route with this access.

        Raises:
            InsufficientScopeError: Their API key does not allow it.
            ForbiddenError: They are no admin.

        """
        if self.key is None:
            if access is Access.ADMIN and self.role is not Role.ADMIN:
                raise ForbiddenError("Only admins may do this.")
        elif access is not Access.ANY_CREDENTIAL and access not in self.key.scopes:
            raise InsufficientScopeError(f"This needs {_needed(access)}.")

    def may_ask(self, model: str) -> bool:
        """Tell whether they may ask a model."""
        return self.key is None or self.key.models is None or whole_name(model) in self.key.models

    def require_model(self, model: str) -> None:
        """Accept somebody who may ask a model.

        Raises:
            ModelNotAllowedError: Their API key is for others.

        """
        if not self.may_ask(model):
            raise ModelNotAllowedError(f"The API key is not for {model!r}.", param="model")

    @property
    def confined_to(self) -> str | None:
        """The API key whose jobs alone they may read and stop; None: they may with all of their user's.

        A key that is not for every model, or not for conversations, does not get at what others have said with them.
        """
        if self.key is None or (self.key.models is None and Access.CONVERSATIONS in self.key.scopes):
            return None
        return self.key.id

    def owns(self, *, user_id: str, api_key_id: str | None) -> bool:
        """Tell whether a job is theirs to read and stop, by whose it is and with which key it was asked for."""
        return user_id == self.user_id and self.confined_to in (None, api_key_id)


def _needed(access: Access) -> str:
    return "somebody who has logged in" if access in {Access.SESSION, Access.ADMIN} else f"the scope {access}"


AuthenticatedRequest = Request[Principal, None, State]
"""A request behind `RequirePrincipal`; its `user` is the principal."""


class Authenticator(Protocol):
    """Tells whom a token belongs to."""

    async def authenticate(self, token: str) -> Principal:
        """Return the token's owner.

        Raises:
            UnauthenticatedError: The token is unknown, expired, revoked or malformed.
            StoreUnavailableError: It cannot be told just now.

        """
        ...

    async def find(self, credential: Credential) -> Principal:
        """Return the owner of a credential that was proven otherwise.

        Raises:
            UnauthenticatedError: It is unknown, expired or revoked, or its user is disabled.
            StoreUnavailableError: It cannot be told just now.

        """
        ...


class RequirePrincipal:
    """Middleware of every router whose routes need a user; sets `request.user`.

    Middleware, because it runs before anything of the request is read and cannot be forgotten on a single route. A
    guard does the same for 10 µs more, a second dependency beside a handler's own for 50.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Authenticate, then pass the request on."""
        authenticator: Authenticator = scope["litestar_app"].state.authenticator
        try:
            # Of whoever is refused as well: the audit log is to say who it was.
            principal = scope["user"] = await authenticator.authenticate(bearer_token(scope))
            principal.authorize(access_of(scope["route_handler"]))
        except (UnauthenticatedError, ForbiddenError):  # nobody tries tokens, or what one allows, without end
            await charge_address(scope)
            raise
        await self._app(scope, receive, send)


class RecognizePrincipal:
    """Middleware of routes that anybody may call, and that answer a caller's key by what it allows.

    It sets `request.user` to the principal, or to None for who shows no credential, who is refused where
    `MODELS_REQUIRE_AUTH` is set. A credential that is not good is refused everywhere, so that nobody takes everybody's
    answer for theirs.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Find out who it is, then pass the request on."""
        state = scope["litestar_app"].state
        is_anonymous = all(name != b"authorization" for name, _ in scope["headers"])
        if is_anonymous and not state.settings.accounts.models_require_auth:
            scope["user"] = None
        else:
            scope["user"] = await state.authenticator.authenticate(bearer_token(scope))
        await self._app(scope, receive, send)


def bearer_token(scope: Scope) -> str:
    """Return the token of the request's `Authorization` header.

    Raises:
        UnauthenticatedError: There is no such header, more than one, or it has another form.

    """
    values = [value for name, value in scope["headers"] if name == b"authorization"]
    if not values:
        raise UnauthenticatedError("Send an access token or an API key as Authorization: Bearer.")
    if len(values) > 1 or values[0][: len(_SCHEME)].lower() != _SCHEME:
        raise UnauthenticatedError("The Authorization header must have the form: Bearer <token>.")
    try:
        return values[0][len(_SCHEME) :].decode("ascii").strip()
    except UnicodeDecodeError:
        raise UnauthenticatedError("The token is not valid.") from None
