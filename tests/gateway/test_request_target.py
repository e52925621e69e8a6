import httpx
import pytest

from gateway.request_target import MAX_NAME_CHARS, refuse_undeclared
from shared.errors import InvalidRequestError

DECLARED = frozenset({"limit", "status"})


@pytest.mark.parametrize(
    ("query", "param"),
    [
        pytest.param(b"limt=5", "limt", id="a slip of the pen"),
        pytest.param(b"limit=5&LIMIT=5", "LIMIT", id="another case"),
        pytest.param(b"limit=5&limit=5", "limit", id="twice the same"),
        pytest.param(b"limit=5&l%69mit=6", "limit", id="twice, once as an escape"),
        pytest.param(b"limit[]=5", "limit[]", id="a list"),
        pytest.param(b"=5", "", id="a value alone"),
        pytest.param(b"status=a%00", "status", id="NUL"),
        pytest.param(b"status=%0d%0aX:y", "status", id="line ends"),
        pytest.param(b"status=%ff", None, id="no UTF-8"),
        pytest.param(b"status=%ed%a0%80", None, id="half of a surrogate pair"),
        pytest.param(b"status=%c0%80", None, id="an overlong NUL"),
        pytest.param(b"status=%u0041", None, id="an escape of JavaScript"),
        pytest.param(b"status=100%", None, id="a percent sign"),
        pytest.param(b"x" * 5000 + b"=1", "x" * MAX_NAME_CHARS, id="a long name"),
    ],
)
def test_a_query_is_refused_unless_all_of_it_means_something(query: bytes, param: str | None) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        refuse_undeclared(query, DECLARED)
    assert caught.value.param == param


@pytest.mark.parametrize(
    "query", [b"", b"&", b"limit=5&status=queued&", b"status=%e2%82%ac+%26%3d%3f", b"l%69mit=5", b"limit"]
)
def test_what_is_declared_is_taken(query: bytes) -> None:
    refuse_undeclared(query, DECLARED)


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("//health", id="two slashes"),
        pytest.param("/health/", id="a slash at the end"),
        pytest.param("/%68ealth", id="an escape"),
        pytest.param("/health%2fready", id="a slash as an escape"),
        pytest.param("/health//ready", id="two slashes in the middle"),
        pytest.param("/Health", id="another case"),
        pytest.param("/health%00", id="NUL"),
    ],
)
async def test_a_path_has_one_spelling(client: httpx.AsyncClient, path: str) -> None:
    """Or a proxy that guards one would let the others through."""
    response = await client.get(path)
    assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")
