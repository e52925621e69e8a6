"""How a command can fail beside what shared/errors.py knows."""


class WrongUseError(Exception):
    """The command as it was given cannot be done; the message is the reason, in a few words."""


class NotToldError(Exception):
    """What was asked is done, and Redis could not be told; the message says what follows from that."""
