"""What can keep the local stack from running. Every message is one line for the person at the terminal."""

from pathlib import Path


class LocalStackError(Exception):
    """The command cannot go on."""


class StartFailedError(LocalStackError):
    """A program did not come to serve, or did not do its work."""


class InUseError(LocalStackError):
    """Another stack uses the state directory."""


class NoAccountError(LocalStackError):
    """We are root, and there is nobody else that PostgreSQL could run as."""


class NoTokenError(LocalStackError):
    """The gateway did not give the demo account an access token."""


class NothingRunsError(LocalStackError):
    """There is no stack to ask."""

    def __init__(self, state: Path) -> None:
        super().__init__(f"no stack runs in STATE_DIR {state}. Example: ./dev up")
