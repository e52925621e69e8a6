"""`GET /v1/usage`: what the caller has asked for."""

from litestar import Router, get

from gateway.access import Access
from gateway.admission.limited_routes import LimitByUser
from gateway.dependencies import Injected
from gateway.operation import Operation
from gateway.principal import AuthenticatedRequest, RequirePrincipal
from gateway.usage import grouping, period
from gateway.usage.report import UsageReport
from gateway.usage.schemas import UsagePage
from shared.errors import InvalidRequestError, StoreUnavailableError


@get(
    "/",
    summary="Count what the caller has asked for",
    access=Access.USAGE,
    operation=Operation(
        errors=[InvalidRequestError, StoreUnavailableError],
        parameters=[*period.PARAMETERS, *grouping.PARAMETERS],
    ),
)
async def show_usage(request: AuthenticatedRequest, usage_report: Injected[UsageReport]) -> UsagePage:
    """Return requests, tokens and outcomes, by UTC day unless told otherwise, of all of the caller's sessions and keys.

    What waits or runs is not counted yet; what has ended is within seconds. Tokens are as
    Ollama has counted them, which it does at the end of an answer; of what did not come to that, as the limits are
    charged: a token for each piece that there was, and if there was one, the estimate of the prompt. Keys that are
    revoked keep their names.
    """
    return await usage_report.page(request.query_params, user_id=request.user.user_id)


usage_routes = Router(
    "/v1/usage", route_handlers=[show_usage], middleware=[RequirePrincipal, LimitByUser], tags=["usage"]
)
