import pytest

from gateway.chat.free_json import MAX_BYTES, MAX_DEPTH, free_json_fault


def nested(levels: int) -> object:
    value: object = 1
    for level in range(levels):
        value = {"a": value, "b": 1} if level % 2 else [value, "text", 1]
    return value


@pytest.mark.parametrize(
    "value", [{}, [], [{}, [], "x"], nested(MAX_DEPTH), {"text": "[" * 1000}, ["x" * (MAX_BYTES - 4)]], ids=repr
)
def test_what_is_within_bounds_is_taken(value: object) -> None:
    assert free_json_fault(value) is None


def test_levels_are_bounded() -> None:
    assert free_json_fault(nested(MAX_DEPTH + 1)) == f"Expected at most {MAX_DEPTH} levels"
    assert free_json_fault([1, nested(900)]) == f"Expected at most {MAX_DEPTH} levels"


def test_bytes_are_bounded() -> None:
    assert free_json_fault(["x" * (MAX_BYTES - 3)]) == f"Expected at most {MAX_BYTES} bytes"
