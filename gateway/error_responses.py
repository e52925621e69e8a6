"""Turns whatever goes wrong into one shape with a stable code; docs/errors.md is this table for readers."""

import logging
import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.types import ExceptionHandlersMap

from gateway.admission.rate_limit_headers import refusal_headers
from gateway.error_dialects import dialect_of, elsewhere
from gateway.request_id import current_request_id
from shared import audit, errors
from shared.audit import SecurityEvent
from shared.errors import DeeperSensorError
from shared.events import ErrorBody, ErrorDetail

CLIENT_CLOSED_REQUEST = 499  # not registered, but what gRPC and nginx say; SDKs retry 409 and 5xx, and must not here

LONGEST_WAIT_OF_SDKS_S = 60  # what OpenAI's SDKs are told to wait beyond that they do not, and ask again at once
NOT_AGAIN = {"X-Should-Retry": "false"}

STATUS: Mapping[type[DeeperSensorError], int] = {
    DeeperSensorError: 500,
    errors.InvalidRequestError: 422,
    errors.MalformedBodyError: 400,
    errors.UnsupportedParameterError: 400,
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


class ReportedError(Exception):
    """What ended a job, as its `error` event says it; whoever waited for the answer is told the same.

    Args:
        detail: Of the event.

    """

    def __init__(self, detail: ErrorDetail) -> None:
        super().__init__(detail.code)
        self.detail = detail


def status_of(error: type[DeeperSensorError]) -> int:
    """Return the HTTP status with which an error of this class is answered."""
    return next(STATUS[ancestor] for ancestor in error.__mro__ if ancestor in STATUS)


def describe(error: DeeperSensorError) -> ErrorBody:
    """Return the public description of `error`, with the id of the current request."""
    return ErrorBody(ErrorDetail(error.code, error.type, error.message, error.param, current_request_id.get()))


def answer(error: DeeperSensorError, path: str, *, status: int | None = None) -> Response[bytes]:
    """Return the response for `error` to a request for `path`; `status` overrides the table."""
    return _respond(describe(error).error, path, status or status_of(type(error)), _headers(error, path))


def _respond(detail: ErrorDetail, path: str, status: int, headers: Mapping[str, str]) -> Response[bytes]:
    dialect = dialect_of(path)
    return Response(
        dialect.write(detail),
        status_code=dialect.status(status),
        media_type="application/json",
        headers=headers,
    )


def _headers(error: DeeperSensorError, path: str) -> dict[str, str]:
    if isinstance(error, errors.UnauthenticatedError):
        return {"WWW-Authenticate": "Bearer"}
    if isinstance(error, errors.TryLaterError):
        dialect = dialect_of(path)
        is_in_vain = dialect.says_whether_to_retry and error.retry_after_s > LONGEST_WAIT_OF_SDKS_S
        return {
            "Retry-After": str(max(1, math.ceil(error.retry_after_s))),
            **refusal_headers(error, as_openai=dialect.has_openai_limits),
            **(NOT_AGAIN if is_in_vain else {}),
        }
    if isinstance(error, errors.RequestTimeoutError):
        # Not after a body that is too large: a client that is still sending would be reset, and never see the answer.
        return {"Connection": "close"}
    return {}


def _answer_reported(request: Request[Any, Any, Any], error: ReportedError) -> Response[bytes]:
    """A job was tried as often as that helps; an SDK that tried again by itself would do as much once more."""
    path = request.url.path
    headers = NOT_AGAIN if dialect_of(path).says_whether_to_retry else {}
    return _respond(error.detail, path, status_of(errors.by_code(error.detail.code)), headers)


def _answer_ours(request: Request[Any, Any, Any], error: DeeperSensorError) -> Response[bytes]:
    response = answer(error, request.url.path)
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
    path = request.url.path
    match error.status_code:
        case HTTPStatus.NOT_FOUND:
            return answer(errors.NotFoundError(dialect_of(path).nothing_here + elsewhere(path)), path)
        case HTTPStatus.METHOD_NOT_ALLOWED:
            fault = f"This path does not take {request.method[:16]}.{elsewhere(path)}"
            response = answer(errors.MethodNotAllowedError(fault), path)
            response.headers.update(error.headers or {})
            return response
        case status if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            if isinstance(error, ValidationException):
                return answer(_invalid_parameter(error), path)
            return answer(errors.InvalidRequestError(error.detail), path, status=status)
        case _:
            return _answer_unexpected(request, error)


def _invalid_parameter(error: ValidationException) -> errors.InvalidRequestError:
    """Litestar lists one entry per wrong parameter; the first is told."""
    extra = error.extra
    first = extra[0] if isinstance(extra, list) and extra else {}
    return errors.InvalidRequestError(f"{first.get('message', error.detail)}.", param=first.get("key"))


def _answer_deep_nesting(request: Request[Any, Any, Any], _: RecursionError) -> Response[bytes]:
    return answer(errors.MalformedBodyError("The body nests too deeply."), request.url.path)


def _answer_unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """A bug: the traceback goes to the log, the client learns only where to look."""
    logger.error("request_crashed", exc_info=error, extra={"method": request.method, "path": request.url.path})
    fault = DeeperSensorError("Something went wrong here. The request id finds it in the logs.")
    return answer(fault, request.url.path)


EXCEPTION_HANDLERS: ExceptionHandlersMap = {
    DeeperSensorError: _answer_ours,
    ReportedError: _answer_reported,
    HTTPException: _answer_litestar,
    RecursionError: _answer_deep_nesting,
    Exception: _answer_unexpected,
}
