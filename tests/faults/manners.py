"""What clients ask for, and how they go about it."""

from msgspec import Struct

from tests.faults.storyteller import Misfortune


class Manners(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a client goes about one job."""

    surface: str = "native"  # by which it asks; by the others it streams, and cannot come back but with a key
    has_key: bool = False  # it sends an Idempotency-Key, so that asking again cannot make another job
    leaves_after: int | None = None  # so many events, and never comes back
    is_whole: bool = False  # it wants the answer in one piece
    is_durable: bool = False  # it has the job accepted, and looks until it has ended
    readers: int = 1  # read the stream at once, each from the start
    breaks_off_after: tuple[int, ...] = ()  # so many events of its first connections each, and comes back
    cancels_after: int | None = None  # so many events it has the job stopped, and reads on
    replays: bool = False  # when all is over, it reads everything again


class Request(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One job as a plan has it."""

    user: int  # which of the users asks
    model: str
    words: int
    pace_ms: float
    manners: Manners = Manners()
    misfortunes: tuple[Misfortune, ...] = ()
    excused: tuple[str, ...] = ()  # codes with which it may end because of them
