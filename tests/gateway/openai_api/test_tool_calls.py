"""A model's tool calls reach OpenAI's clients as it wrote them: arguments are text there, in which nothing changes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.openai_api.tool_calls import read_calls
from shared.errors import UpstreamError

JOB_ID = "0199c0de-0000-7000-8000-00000000abcd"


def arguments_of(written: str) -> str:
    calls = f'[{{"function":{{"name":"f","arguments":{written}}}}}]'.encode()
    return read_calls(calls, job_id=JOB_ID, first=0)[0].function.arguments


@pytest.mark.parametrize(
    ("written", "text"),
    [
        pytest.param('{"city":"Rome"}', '{"city":"Rome"}', id="a text"),
        pytest.param('{"b":1.50,"a":1e2,"c":12345678901234567890}', None, id="numbers and their order"),
        pytest.param('{ "a" : [ 1 , {} ] }', None, id="white space"),
        pytest.param('{"city":"Z\\u00fcrich"}', '{"city":"Zürich"}', id="what an event escapes"),
        pytest.param('{"face":"\\ud83d\\ude00"}', '{"face":"😀"}', id="a pair of surrogates"),
        pytest.param('{"quote":"\\u0022\\n\\\\"}', None, id="what JSON has to escape"),
        pytest.param('{"path":"C:\\\\u00fc"}', None, id="a backslash before what looks like an escape"),
        pytest.param('"{\\"a\\":1}"', '{"a":1}', id="text already"),
        pytest.param("null", "{}", id="none"),
        pytest.param("{}", "{}", id="an empty object"),
    ],
)
def test_arguments_stay_what_they_are(written: str, text: str | None) -> None:
    assert arguments_of(written) == (written if text is None else text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner)
    ).map(lambda value: {"value": value})
)
def test_any_arguments_can_be_read_again(arguments: dict[str, object]) -> None:
    assert json.loads(arguments_of(json.dumps(arguments))) == arguments


def test_a_call_keeps_the_id_that_the_model_gave_it_and_has_one_of_the_job_otherwise() -> None:
    named, first, second = read_calls(
        b'[{"id":"call_x","function":{"name":"f","arguments":{}}},'
        b'{"function":{"index":7,"name":"f"}},{"id":"","function":{"name":"g"}}]',
        job_id=JOB_ID,
        first=2,
    )

    assert (named.id, first.id, second.id) == ("call_x", "call_00000000abcd_3", "call_00000000abcd_4")
    assert second.function.arguments == "{}"


@pytest.mark.parametrize("calls", [b"{}", b"[1]", b"[{}]", b'[{"function":{"name":null}}]', b"["])
def test_what_is_no_call_is_the_fault_of_ollama(calls: bytes) -> None:
    with pytest.raises(UpstreamError):
        read_calls(calls, job_id=JOB_ID, first=0)
