import pytest
from msgspec import Struct

from gateway.paging import DEFAULT_LIMIT, PageRequest
from shared.errors import InvalidRequestError
from shared.ids import new_id


class Thing(Struct):
    id: str


def test_a_page_goes_on_where_the_one_before_ended() -> None:
    things = [Thing(new_id()) for _ in range(5)][::-1]
    seen: list[Thing] = []
    query: dict[str, str] = {"limit": "2"}
    for size in (2, 2, 1):
        wanted = PageRequest.of(query)
        page, cursor = wanted.cut([thing for thing in things if wanted.before is None or thing.id < wanted.before])
        assert len(page) == size
        seen += page
        query["cursor"] = cursor or ""
    assert seen == things
    assert query["cursor"] == ""


def test_there_is_no_next_page_when_the_last_thing_is_on_this_one() -> None:
    things = [Thing(new_id()) for _ in range(2)]
    assert PageRequest.of({"limit": "2"}).cut(things) == (things, None)
    assert PageRequest.of({}).cut([]) == ([], None)


def test_the_first_page_of_the_usual_size_is_asked_for_by_saying_nothing() -> None:
    assert PageRequest.of({}) == PageRequest(limit=DEFAULT_LIMIT, before=None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("limit", value) for value in ("0", "101", "-1", "1.0", "+1", " 1", "٣", "", "1" * 5000)),
        *(
            ("cursor", value)
            for value in ("1", "", "ffffffff-ffff-ffff-ffff-ffffffffffff", "0199AAAA-BBBB-7CCC-8DDD-EEEEFFFF0000")
        ),
    ],
)
def test_a_value_that_is_none_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(InvalidRequestError) as refusal:
        PageRequest.of({name: value})
    assert refusal.value.param == name
