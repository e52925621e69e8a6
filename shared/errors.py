"""Everything that can go wrong and be told to somebody, in families by what the caller can do about it.

An error's `code` is stable and public (docs/errors.md lists them all); `type` is OpenAI's word for the family.
HTTP status codes are the gateway's business: gateway/error_responses.py maps the classes to them. A worker puts
the same `code` and `type` into the `error` event that ends a stream.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal, Protocol


class DeeperSensorError(Exception):
    """A fault of ours that has no code of its own; the root of every error that has one."""

    code: ClassVar[str] = "internal_error"
    type: ClassVar[str] = "server_error"

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


# The caller must change the request.


class InvalidRequestError(DeeperSensorError):
    """The request can never succeed as it stands; `param` names the field at fault."""

    code = "invalid_request"
    type = "invalid_request_error"


class MalformedBodyError(InvalidRequestError):
    """The body is not JSON in UTF-8, or nests absurdly."""

    code = "malformed_body"


class UnsupportedParameterError(InvalidRequestError):
    """The parameter at fault, or this value of it, asks for what there is not here."""

    code = "unsupported_parameter"


class InvalidEventIdError(InvalidRequestError):
    """`Last-Event-ID` is no id of an event, or of one that the stream does not have (yet)."""

    code = "invalid_event_id"


class IdempotencyMismatchError(InvalidRequestError):
    """The `Idempotency-Key` was sent with another request within the last 24 hours."""

    code = "idempotency_mismatch"


class ExceedsTokenLimitError(InvalidRequestError):
    """The request needs more tokens than ever pass at once."""

    code = "exceeds_token_limit"


class ConversationFullError(InvalidRequestError):
    """What was said in the conversation is, with the new messages, more than a chat may bring."""

    code = "conversation_full"


class UnsupportedMediaTypeError(InvalidRequestError):
    """The body is not declared as `application/json`."""

    code = "unsupported_media_type"


class BodyTooLargeError(InvalidRequestError):
    """The body is larger than the setting allows."""

    code = "body_too_large"


class HeadersTooLargeError(InvalidRequestError):
    """Request line and headers are too large, or there are too many."""

    code = "headers_too_large"


class RequestTimeoutError(InvalidRequestError):
    """The headers or the body did not arrive in time."""

    code = "request_timeout"


class NotFoundError(InvalidRequestError):
    """There is no such thing, or it belongs to somebody else: the two are not told apart."""

    code = "not_found"


class MethodNotAllowedError(InvalidRequestError):
    """The path exists, the method on it does not."""

    code = "method_not_allowed"


class ModelNotFoundError(NotFoundError):
    """No live worker has the model, and none had it within the last day."""

    code = "model_not_found"


class StreamExpiredError(NotFoundError):
    """The job is over for so long that its stream is not kept any more."""

    code = "stream_expired"


class AnswerExpiredError(NotFoundError):
    """The job is over for so long that its answer is not kept any more."""

    code = "answer_expired"


class ConflictError(InvalidRequestError):
    """The request contradicts what is already there."""

    code = "conflict"


class EmailTakenError(ConflictError):
    """Somebody has signed up with this e-mail address."""

    code = "email_taken"


class ConversationBusyError(ConflictError):
    """A job has yet to answer in the conversation, or somebody else has just said something in it."""

    code = "conversation_busy"


class TooManyApiKeysError(ConflictError):
    """The user has as many API keys as one may have."""

    code = "too_many_api_keys"


# The caller must say who they are, or may not do this.


class UnauthenticatedError(DeeperSensorError):
    """No credential, or one that is unknown, expired, revoked or malformed."""

    code = "unauthenticated"
    type = "authentication_error"


class ForbiddenError(DeeperSensorError):
    """The caller is known and may not do this."""

    code = "forbidden"
    type = "permission_error"


class InsufficientScopeError(ForbiddenError):
    """The API key does not allow this, or no API key does."""

    code = "insufficient_scope"


class HttpsRequiredError(ForbiddenError):
    """The request came by plain HTTP, and the operator does not want that."""

    code = "https_required"


class WrongPasswordError(ForbiddenError):
    """The password that has to be given once more, for a change of the account, is not the account's."""

    code = "wrong_password"


class ModelNotAllowedError(ForbiddenError):
    """The API key is not for this model."""

    code = "model_not_allowed"


class LimitAboveOwnersError(ForbiddenError):
    """An API key was to have a limit above its owner's."""

    code = "limit_above_owners"


# The caller should come back later: nothing was spent, nothing was queued.


class TryLaterError(DeeperSensorError):
    """Refused for now; `retry_after_s` says when another try can succeed."""

    code = "unavailable"

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class LimitLeft(Protocol):
    """How much of a rate limit there is."""

    @property
    def scope(self) -> str:
        """Whose limit it is, for example `user` or `address`."""
        ...

    @property
    def unit(self) -> str:
        """What is counted, `requests` or `tokens`."""
        ...

    @property
    def per_minute(self) -> int:
        """The limit."""
        ...

    @property
    def remaining(self) -> int:
        """What is left of it."""
        ...

    @property
    def reset_s(self) -> float:
        """Until it is whole again."""
        ...


class RateLimitedError(TryLaterError):
    """A rate limit is used up; `retry_after_s` is exact as long as nobody else spends from it.

    Args:
        message: For people.
        retry_after_s: Until what was refused can pass.
        scope: Whose limit it is, for example `user` or `address`.
        per_minute: The limit.
        remaining: What is left of it: less than the request costs.
        reset_s: Until it is whole again.
        unit: What is counted, `requests` or `tokens`.
        limits: All that the request would have spent from; empty: this one alone.

    """

    code = "rate_limited"
    type = "rate_limit_error"

    def __init__(
        self,
        message: str,
        *,
        retry_after_s: float,
        scope: str,
        per_minute: int,
        remaining: int,
        reset_s: float,
        unit: str = "requests",
        limits: Sequence[LimitLeft] = (),
    ) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.scope = scope
        self.unit = unit
        self.per_minute = per_minute
        self.remaining = remaining
        self.reset_s = reset_s
        self.limits = limits or [self]


class ConcurrencyLimitedError(TryLaterError):
    """Somebody has as many jobs or open streams as they may have at once; `retry_after_s` is an estimate.

    Args:
        message: For people.
        retry_after_s: Until one of them may have ended.
        scope: Whose limit it is: `user` or `key`.
        unit: What is counted: `jobs` or `streams`.
        most: The limit.

    """

    code = "concurrency_limited"
    type = "rate_limit_error"

    def __init__(self, message: str, *, retry_after_s: float, scope: str, unit: str, most: int) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.scope = scope
        self.unit = unit
        self.most = most


class TooManyAttemptsError(TryLaterError):
    """Passwords or tokens were wrong too often, for this account or from this address; `retry_after_s` is exact."""

    code = "too_many_attempts"
    type = "rate_limit_error"


class QueueFullError(TryLaterError):
    """As many jobs as allowed wait for this model; `retry_after_s` comes from the measured drain rate.

    Args:
        message: For people.
        retry_after_s: Until the queue has moved.
        limits: What the request would have spent from.

    """

    code = "queue_full"

    def __init__(self, message: str, *, retry_after_s: float, limits: Sequence[LimitLeft] = ()) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.limits = limits


class NoWorkerError(TryLaterError):
    """The model is known, no worker that has it is alive, and jobs may not wait for one."""

    code = "no_worker"


class StoreUnavailableError(TryLaterError):
    """Redis or PostgreSQL is out of reach, and the request cannot be served safely without it."""

    code = "store_unavailable"


class DrainingError(TryLaterError):
    """This process is shutting down: it takes nothing new, and waits for no answer that takes too long."""

    code = "draining"


# The job was accepted and did not end well. These reach clients as `error` events or as the answer of POST /v1/chat.


class JobError(DeeperSensorError):
    """A job ended without a whole answer."""

    code = "job_failed"


class JobCancelledError(JobError):
    """The client, or the end of its connection, cancelled the job."""

    code = "cancelled"


class JobExpiredError(JobError):
    """The job's deadline in the queue passed before a worker was free."""

    code = "expired"


class JobTimedOutError(JobError):
    """The job ran longer than its `timeout_ms`."""

    code = "timeout"


class WorkerLostError(JobError):
    """The job was tried as often as it may be, and each time its worker was lost."""

    code = "worker_lost"


class JobLostError(JobError):
    """Redis lost the job, with what had been answered of it."""

    code = "job_lost"


class AnswerTooLargeError(JobError):
    """The answer grew beyond `MAX_ANSWER_BYTES`."""

    code = "answer_too_large"


class UpstreamError(JobError):
    """Ollama failed; the reason is in the message as far as it is safe to show."""

    code = "upstream_error"


class UpstreamUnreachableError(UpstreamError):
    """No connection to Ollama, or it was reset before the answer began."""

    code = "upstream_unreachable"


class UpstreamTimeoutError(UpstreamError):
    """Ollama was silent for longer than allowed in this phase: `connect`, `first_token`, or `silence` after that."""

    code = "upstream_timeout"

    def __init__(self, message: str, *, phase: Literal["connect", "first_token", "silence"], limit_ms: int) -> None:
        super().__init__(message)
        self.phase = phase
        self.limit_ms = limit_ms


class UpstreamBusyError(UpstreamError):
    """Ollama takes nothing more just now; `retry_after_s` is what it said of when to come back, None if nothing."""

    code = "upstream_busy"

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class UpstreamInterruptedError(UpstreamError):
    """The answer broke off: a cut connection, a malformed line, or an end without `done: true`."""

    code = "upstream_interrupted"


class UpstreamRejectedError(UpstreamError):
    """Ollama refused the request (4xx); trying again as it stands is useless."""

    code = "upstream_rejected"
    type = "invalid_request_error"


class ContextLengthExceededError(UpstreamRejectedError):
    """The prompt is longer than the model's context."""

    code = "context_length_exceeded"


def by_code(code: str) -> type[DeeperSensorError]:
    """Return the class that has this public code; the root for a code that nobody has (any more)."""
    return family(DeeperSensorError).get(code, DeeperSensorError)


def family(root: type[DeeperSensorError]) -> dict[str, type[DeeperSensorError]]:
    """Return `root` and every class below it, by public code."""
    classes = {root.code: root}
    for child in root.__subclasses__():
        classes |= family(child)
    return classes
