"""Why a reader was sent away before its job's end, told to clients that cannot go on reading elsewhere."""

from gateway.relay import Reader
from shared.errors import DeeperSensorError, DrainingError, UnauthenticatedError

RETRY_ELSEWHERE_S = 1.0


def parting_error(reader: Reader) -> DeeperSensorError:
    """Return what to tell the client of a reader that has parted."""
    if reader.is_revoked:
        return UnauthenticatedError("The credential is not valid any more.")
    return DrainingError("This gateway stops; ask again.", retry_after_s=RETRY_ELSEWHERE_S)
