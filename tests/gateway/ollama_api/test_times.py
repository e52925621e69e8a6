from gateway.ollama_api.times import CreatedAt
from tests.clocks import TurnedClock


class HandClock(TurnedClock):
    """A clock that shows what it is set to."""

    ms = 0

    def now_ms(self) -> int:
        return self.ms


def test_the_time_is_told_in_utc_with_nanoseconds() -> None:
    clock = HandClock()
    created_at = CreatedAt(clock)

    told: list[bytes] = []
    for clock.ms in (0, 7, 999, 1000, 951_868_799_999, 951_868_800_000, 7):
        told.append(created_at.now())

    assert told == [
        b"1970-01-01T00:00:00.000000000Z",
        b"1970-01-01T00:00:00.007000000Z",
        b"1970-01-01T00:00:00.999000000Z",
        b"1970-01-01T00:00:01.000000000Z",
        b"2000-02-29T23:59:59.999000000Z",
        b"2000-03-01T00:00:00.000000000Z",
        b"1970-01-01T00:00:00.007000000Z",
    ]
