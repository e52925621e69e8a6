"""`/v1/auth`: signing up, logging in, and who the caller is."""

from typing import Any

from litestar import Request, Router, get, post
from litestar.status_codes import HTTP_200_OK

from gateway.access import Access
from gateway.accounts.registration import Registration
from gateway.accounts.schemas import Credentials, LoggedIn, Me, SignedUp
from gateway.accounts.sessions import Sessions
from gateway.admission.limited_routes import LimitByAddress, LimitByUser
from gateway.dependencies import Injected
from gateway.operation import Operation
from gateway.principal import AuthenticatedRequest, RequirePrincipal
from gateway.request_body import JsonBody
from shared.database import users
from shared.database.engine import Database
from shared.errors import EmailTakenError, ForbiddenError, TryLaterError, UnauthenticatedError

_credentials = JsonBody(Credentials)


@post(
    "/signup",
    summary="Sign up",
    access=Access.PUBLIC,
    middleware=[LimitByAddress],
    operation=Operation(body=Credentials, errors=[ForbiddenError, EmailTakenError, TryLaterError]),
)
async def sign_up(request: Request[Any, Any, Any], registration: Injected[Registration]) -> SignedUp:
    """Make an account. A password needs no special characters, only length."""
    body = await _credentials.read(request)
    user = await registration.sign_up(email=body.normalized_email, password=body.password)
    return SignedUp(id=user.id, email=user.email)


@post(
    "/login",
    summary="Log in",
    access=Access.PUBLIC,
    status_code=HTTP_200_OK,
    middleware=[LimitByAddress],
    operation=Operation(body=Credentials, errors=[UnauthenticatedError, TryLaterError]),
)
async def log_in(request: Request[Any, Any, Any], sessions: Injected[Sessions]) -> LoggedIn:
    """Trade e-mail address and password for an access token. There are no refresh tokens yet: log in again."""
    body = await _credentials.read(request)
    token = await sessions.log_in(email=body.normalized_email, password=body.password)
    return LoggedIn(access_token=token, token_type="bearer", expires_in=sessions.ttl_s)  # noqa: S106  a scheme  # nosec B106


@get("/me", summary="Show who the caller is", access=Access.ANY_CREDENTIAL, middleware=[RequirePrincipal, LimitByUser])
async def show_me(request: AuthenticatedRequest, database: Injected[Database]) -> Me:
    """Return the caller's account and limits."""
    async with database.transaction() as connection:
        user = await users.find(connection, request.user.user_id)
    if user is None:  # deleted within the last seconds
        raise UnauthenticatedError("The token is not valid any more.")
    return Me(
        id=user.id, email=user.email, role=user.role, created_at=user.created_at, limits=request.user.effective_limits
    )


account_routes = Router("/v1/auth", route_handlers=[sign_up, log_in, show_me], tags=["accounts"])
