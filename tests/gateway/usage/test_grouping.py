import base64
import json

import pytest

from gateway.usage.grouping import Grouping, cursor_at
from shared.database.usage import Dimension
from shared.errors import InvalidRequestError


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    ("text", "by"),
    [
        ("day", [Dimension.DAY]),
        ("key,day", [Dimension.DAY, Dimension.KEY]),
        ("key,model,day", [Dimension.DAY, Dimension.MODEL, Dimension.KEY]),
    ],
)
def test_the_order_that_they_are_named_in_does_not_matter(text: str, by: list[Dimension]) -> None:
    assert Grouping.of({"group_by": text}).by == tuple(by)


def test_days_are_told_unless_told_otherwise() -> None:
    assert Grouping.of({}) == Grouping(by=(Dimension.DAY,), after=None, limit=20)


@pytest.mark.parametrize("group", [("2026-11-26", "modèle/ü:1"), ("", "\n")])
def test_a_cursor_leads_behind_its_group(group: tuple[str, ...]) -> None:
    assert Grouping.of({"group_by": "day,model", "cursor": cursor_at(group), "limit": "3"}).after == group


@pytest.mark.parametrize("text", ["", "days", "day,", ",day", "day,day", "day model", "DAY", "user"])
def test_what_cannot_be_counted_by_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError) as refusal:
        Grouping.of({"group_by": text})
    assert refusal.value.param == "group_by"


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "%%%",
        "ü",
        encoded([]),
        encoded(["a", "b"]),
        encoded("a"),
        encoded([1]),
        encoded({"a": "b"}),
        encoded(["\0"]),
        encoded(["a" * 300]),
        encoded(["a" * 5000]),
        base64.urlsafe_b64encode(b'["\xff"]').decode(),
        base64.urlsafe_b64encode(b'["\\ud800"]').decode(),
    ],
)
def test_a_cursor_of_nothing_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidRequestError) as refusal:
        Grouping.of({"cursor": cursor})
    assert refusal.value.param == "cursor"
