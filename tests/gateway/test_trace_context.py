import pytest

from gateway.trace_context import traceparent_of

TRACE = b"0af7651916cd43dd8448eb211c80319c"
SPAN = b"b7ad6b7169203331"
WHOLE = b"00-%b-%b-01" % (TRACE, SPAN)


def test_a_trace_that_is_well_formed_is_taken_over() -> None:
    assert traceparent_of([(b"host", b"x"), (b"traceparent", WHOLE)]) == WHOLE.decode()


def test_a_request_without_a_trace_has_none() -> None:
    assert traceparent_of([(b"host", b"x")]) == ""


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\xe9", id="bytes that are no ASCII"),
        pytest.param(b"ff-%b-%b-01" % (TRACE, SPAN), id="the version that is forbidden"),
        pytest.param(b"00-%b-%b-01" % (b"0" * 32, SPAN), id="a trace id of zeros"),
        pytest.param(b"00-%b-%b-01" % (TRACE, b"0" * 16), id="a span id of zeros"),
        pytest.param(WHOLE.upper(), id="upper case"),
        pytest.param(WHOLE + b"-01", id="something after the end"),
        pytest.param(WHOLE + b"\n", id="a line feed at the end"),
        pytest.param(WHOLE[:-1], id="an end too early"),
        pytest.param(b"x" * 30_000, id="a long one"),
    ],
)
def test_a_trace_that_is_not_well_formed_is_ignored(given: bytes) -> None:
    assert traceparent_of([(b"traceparent", given)]) == ""


def test_two_traces_are_none() -> None:
    assert traceparent_of([(b"traceparent", WHOLE), (b"traceparent", WHOLE)]) == ""
