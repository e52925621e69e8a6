"""Turns whatever goes wrong into one shape with a stable code; docs/errors.md is this table for readers."""

import logging
import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.types import ExceptionHandlersMap

from gateway.admission.rate_limit_headers import refusal_headers
from gateway.request_id import current_request_id
from shared import audit, errors
from shared.audit import SecurityEvent
from shared.errors import DeeperSensorError
from shared.events import ErrorBody, ErrorDetail

CLIENT_CLOSED_REQUEST = 499  # not registered, but what gRPC and nginx say; SDKs retry 409 and 5xx, and must not here

STATUS: Mapping[type[DeeperSensorError], int] = {
    DeeperSensorError: 500,
    errors.InvalidRequestError: 422,
    errors.MalformedBodyError: 400,
    errors.InvalidEventIdError: 400,
    errors.UnsupportedMediaTypeError: 415,
    errors.BodyTooLargeError: 413,
    errors.HeadersTooLargeError: 431,
    errors.RequestTimeoutError: 408,
    errors.NotFoundError: 404,
    errors.StreamExpiredError: 410,
    errors.AnswerExpiredError: 410,
    errors.MethodNotAllowedError: 405,
    errors.ConflictError: 409,
    errors.UnauthenticatedError: 401,
    errors.ForbiddenError: 403,
    errors.TryLaterError: 503,
    errors.RateLimitedError: 429,
    errors.ConcurrencyLimitedError: 429,
    errors.TooManyAttemptsError: 429,
    errors.JobError: 502,
    errors.JobCancelledError: CLIENT_CLOSED_REQUEST,
    errors.JobExpiredError: 504,
    errors.JobTimedOutError: 504,
    errors.AnswerTooLargeError: 422,
    errors.UpstreamTimeoutError: 504,
    errors.UpstreamRejectedError: 422,
}
"""A class without a line of its own has its nearest ancestor's."""

logger = logging.getLogger(__name__)


def status_of(error: type[DeeperSensorError]) -> int:
    """Return the HTTP status with which an error of this class is answered."""
    return next(STATUS[ancestor] for ancestor in error.__mro__ if ancestor in STATUS)


def describe(error: DeeperSensorError) -> ErrorBody:
    """Return the public description of `error`, with the id of the current request."""
    return ErrorBody(ErrorDetail(error.code, error.type, error.message, error.param, current_request_id.get()))


def answer(error: DeeperSensorError, *, status: int | None = None) -> Response[bytes]:
    """Return the response for `error`; `status` overrides the table."""
    return Response(
        msgspec.json.encode(describe(error)),
        status_code=status or status_of(type(error)),
        media_type="application/json",
        headers=_headers(error),
    )


def _headers(error: DeeperSensorError) -> dict[str, str]:
    if isinstance(error, errors.UnauthenticatedError):
        return {"WWW-Authenticate": "Bearer"}
    if isinstance(error, errors.TryLaterError):
        return {"Retry-After": str(max(1, math.ceil(error.retry_after_s))), **refusal_headers(error)}
    if isinstance(error, errors.RequestTimeoutError):
        # Not after a body that is too large: a client that is still sending would be reset, and never see the answer.
        return {"Connection": "close"}
    return {}


def _answer_ours(request: Request[Any, Any, Any], error: DeeperSensorError) -> Response[bytes]:
    response = answer(error)
    if response.status_code == HTTPStatus.FORBIDDEN:
        _record_forbidden(request, error)
    return response


def _record_forbidden(request: Request[Any, Any, Any], error: DeeperSensorError) -> None:
    user = request.scope.get("user")
    audit.record(
        SecurityEvent.ACCESS_FORBIDDEN,
        user_id=user.user_id if user else None,
        credential=user.credential if user else None,
        code=error.code,
        method=request.method,
        route=request.scope.get("path_template", ""),
    )


def _answer_litestar(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """Litestar raises its own exceptions for routes, methods, parameters and host names."""
    match error.status_code:
        case HTTPStatus.NOT_FOUND:
            return answer(errors.NotFoundError("There is nothing at this path."))
        case HTTPStatus.METHOD_NOT_ALLOWED:
            response = answer(errors.MethodNotAllowedError(f"This path does not take {request.method[:16]}."))
            response.headers.update(error.headers or {})
            return response
        case status if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            if isinstance(error, ValidationException):
                return answer(_invalid_parameter(error))
            return answer(errors.InvalidRequestError(error.detail), status=status)
        case _:
            return _answer_unexpected(request, error)


def _invalid_parameter(error: ValidationException) -> errors.InvalidRequestError:
    """Litestar lists one entry per wrong parameter; the first is told."""
    extra = error.extra
    first = extra[0] if isinstance(extra, list) and extra else {}
    return errors.InvalidRequestError(f"{first.get('message', error.detail)}.", param=first.get("key"))


def _answer_deep_nesting(_: Request[Any, Any, Any], __: RecursionError) -> Response[bytes]:
    return answer(errors.MalformedBodyError("The body nests too deeply."))


def _answer_unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """A bug: the traceback goes to the log, the client learns only where to look."""
    logger.error("request_crashed", exc_info=error, extra={"method": request.method, "path": request.url.path})
    return answer(DeeperSensorError("Something went wrong here. The request id finds it in the logs."))


EXCEPTION_HANDLERS: ExceptionHandlersMap = {
    DeeperSensorError: _answer_ours,
    HTTPException: _answer_litestar,
    RecursionError: _answer_deep_nesting,
    Exception: _answer_unexpected,
}
