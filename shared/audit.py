"""The audit log: one line for everything that somebody who looks for an attack, or for its traces, wants to know.

The lines come from the logger `audit` at level INFO, whatever `LOG_LEVEL` is. What is bound (shared/log.py) stands in
them too: at a gateway the request's id and the client's address, in a command the operator. E-mail addresses stay out,
the id of their user says as much; passwords, tokens and keys do all the more. docs/operations.md lists the events.
"""

import logging
from enum import StrEnum

LOGGER = "audit"


class SecurityEvent(StrEnum):
    """What has happened."""

    SIGNED_UP = "signed_up"
    LOGIN_SUCCEEDED = "login_succeeded"
    LOGIN_FAILED = "login_failed"  # without `user_id` there is no account of that name
    LOGIN_LOCKED = "login_locked"  # refused unseen, because too many before it failed
    REFRESH_REUSED = "refresh_reused"  # a spent refresh token came back: one of two holders has stolen it
    LOGGED_OUT = "logged_out"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105  an event  # nosec B105
    KEY_CREATED = "key_created"
    KEY_REVOKED = "key_revoked"
    ACCESS_FORBIDDEN = "access_forbidden"  # any 403
    USER_CREATED = "user_created"  # by an operator
    USER_DISABLED = "user_disabled"
    USER_ENABLED = "user_enabled"
    USER_DELETED = "user_deleted"

    @property
    def is_refusal(self) -> bool:
        """Whether somebody wanted what they did not get."""
        return self in _REFUSALS


_REFUSALS = frozenset(
    {
        SecurityEvent.LOGIN_FAILED,
        SecurityEvent.LOGIN_LOCKED,
        SecurityEvent.REFRESH_REUSED,
        SecurityEvent.ACCESS_FORBIDDEN,
    }
)

_log = logging.getLogger(LOGGER)


def record(
    event: SecurityEvent, *, user_id: str | None = None, credential: object | None = None, **details: str
) -> None:
    """Write one line about `event`.

    Args:
        event: What has happened.
        user_id: Whose account it is about; None: nobody's.
        credential: What the event is about or was done with, for example `session:<uuid>`; never the secret itself.
        details: More of it, never secret and never what somebody else has made up at length.

    """
    fields: dict[str, str] = {"outcome": "refused" if event.is_refusal else "done", **details}
    if user_id is not None:
        fields["user_id"] = user_id
    if credential is not None:
        fields["credential"] = str(credential)
    _log.info(event, extra=fields)
