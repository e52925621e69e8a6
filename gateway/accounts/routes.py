"""`/v1/auth`: accounts and sessions, from signing up to deleting it all."""

from typing import Any

from litestar import Request, Router, delete, get, post
from litestar.status_codes import HTTP_200_OK, HTTP_204_NO_CONTENT

from gateway.access import Access
from gateway.accounts.own_account import OwnAccount
from gateway.accounts.registration import Registration
from gateway.accounts.schemas import Credentials, Farewell, LoggedIn, Me, PasswordChange, Renewal, SignedUp
from gateway.accounts.sessions import Sessions
from gateway.admission.limited_routes import LimitAttempts, LimitByUser
from gateway.client_address import ClientAddress
from gateway.dependencies import Injected
from gateway.operation import Operation
from gateway.principal import AuthenticatedRequest, RequirePrincipal
from gateway.request_body import JsonBody
from shared.database import users
from shared.database.engine import Database
from shared.errors import (
    EmailTakenError,
    ForbiddenError,
    TooManyAttemptsError,
    TryLaterError,
    UnauthenticatedError,
    WrongPasswordError,
)

_credentials = JsonBody(Credentials)
_renewal = JsonBody(Renewal)
_password_change = JsonBody(PasswordChange)
_farewell = JsonBody(Farewell)

_ERRORS_OF_PASSWORDS = (WrongPasswordError, TooManyAttemptsError, TryLaterError)


@post(
    "/signup",
    summary="Sign up",
    access=Access.PUBLIC,
    middleware=[LimitAttempts],
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
    middleware=[LimitAttempts],
    operation=Operation(body=Credentials, errors=[UnauthenticatedError, TooManyAttemptsError, TryLaterError]),
)
async def log_in(
    request: Request[Any, Any, Any], sessions: Injected[Sessions], client_address: Injected[ClientAddress]
) -> LoggedIn:
    """Trade e-mail address and password for an access token, and a refresh token to trade for the next of both."""
    body = await _credentials.read(request)
    address = client_address.of(request)
    return LoggedIn.of(await sessions.log_in(email=body.normalized_email, password=body.password, address=address))


@post(
    "/refresh",
    summary="Renew the tokens",
    access=Access.PUBLIC,
    status_code=HTTP_200_OK,
    middleware=[LimitAttempts],
    operation=Operation(body=Renewal, errors=[UnauthenticatedError, TooManyAttemptsError]),
)
async def refresh(
    request: Request[Any, Any, Any], sessions: Injected[Sessions], client_address: Injected[ClientAddress]
) -> LoggedIn:
    """Trade a refresh token for a new pair; it is spent.

    For 10 s it may be sent again, and gives the same refresh token: a client that got no answer just repeats. Later it
    ends the session, because one of two that have it must have stolen it.
    """
    body = await _renewal.read(request)
    return LoggedIn.of(await sessions.refresh(body.refresh_token, address=client_address.of(request)))


@post(
    "/logout",
    summary="Log out",
    access=Access.SESSION,
    status_code=HTTP_204_NO_CONTENT,
    middleware=[RequirePrincipal, LimitByUser],
)
async def log_out(request: AuthenticatedRequest, sessions: Injected[Sessions]) -> None:
    """End the session of the access token: all of its tokens, links and streams, at every gateway within seconds."""
    await sessions.log_out(request.user.user_id, request.user.credential.id)


@post(
    "/password",
    summary="Change the password",
    access=Access.SESSION,
    status_code=HTTP_204_NO_CONTENT,
    middleware=[RequirePrincipal, LimitAttempts],
    operation=Operation(body=PasswordChange, errors=_ERRORS_OF_PASSWORDS),
)
async def change_password(
    request: AuthenticatedRequest, own_account: Injected[OwnAccount], client_address: Injected[ClientAddress]
) -> None:
    """Replace the password, and end every other session. API keys stay as they are."""
    body = await _password_change.read(request)
    await own_account.change_password(
        request.user.user_id,
        current=body.current_password,
        new=body.new_password,
        session=request.user.credential,
        address=client_address.of(request),
    )


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


@delete(
    "/me",
    summary="Delete the account",
    access=Access.SESSION,
    middleware=[RequirePrincipal, LimitAttempts],
    operation=Operation(body=Farewell, errors=_ERRORS_OF_PASSWORDS),
)
async def delete_me(
    request: AuthenticatedRequest, own_account: Injected[OwnAccount], client_address: Injected[ClientAddress]
) -> None:
    """Delete the account and all that is the caller's, for good: sessions, API keys, jobs and their answers."""
    body = await _farewell.read(request)
    await own_account.delete(request.user.user_id, password=body.password, address=client_address.of(request))


account_routes = Router(
    "/v1/auth",
    route_handlers=[sign_up, log_in, refresh, log_out, change_password, show_me, delete_me],
    tags=["accounts"],
)
