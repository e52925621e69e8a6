"""Who may read a stream: its owner by an access token, as everywhere, or whoever holds a link to this one stream."""

from urllib.parse import parse_qs

from litestar.types import ASGIApp, Receive, Scope, Send

from gateway.access import access_of
from gateway.admission.limited_routes import charge_address
from gateway.chat.stream_links import PARAMETER
from gateway.principal import RequirePrincipal
from shared.errors import ForbiddenError, UnauthenticatedError


class RequireReader(RequirePrincipal):
    """Middleware that sets `request.user` to the holder of a link's credential, or else of the bearer token."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(app)
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Authenticate, then pass the request on."""
        tokens = parse_qs(scope["query_string"].decode("latin-1")).get(PARAMETER)
        if not tokens or any(name == b"authorization" for name, _ in scope["headers"]):
            await super().__call__(scope, receive, send)
            return
        state = scope["litestar_app"].state
        try:
            credential = state.links.verify(tokens[0], job_id=scope["path_params"]["job_id"])
            principal = scope["user"] = await state.authenticator.find(credential)
            principal.authorize(access_of(scope["route_handler"]))
        except (UnauthenticatedError, ForbiddenError):
            await charge_address(scope)
            raise
        await self._app(scope, receive, send)
