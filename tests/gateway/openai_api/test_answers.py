"""A whole answer is the same that a stream brings, in one object of OpenAI's form."""

from typing import Any

import msgspec
import pytest

from gateway.openai_api.answers import chat_completion, text_completion
from shared.transcripts import transcribe
from tests.job_events import STARTED, Written, chunk, done, events, resumed

JOB_ID = "0199c0de-1234-7000-8000-00000000abcd"
CREATED = 0x0199C0DE1234 // 1000
CALL = b'[{"function":{"name":"f","arguments":{"n":1.50}}}]'
CALLED = {
    "id": "call_00000000abcd_0",
    "type": "function",
    "function": {"name": "f", "arguments": '{"n":1.50}'},
}


def chat(*written: Written) -> dict[str, Any]:
    return msgspec.to_builtins(chat_completion(transcribe(events(*written)), job_id=JOB_ID, model="demo"))


def test_a_chat_is_answered_with_everything_that_openai_tells() -> None:
    assert chat(STARTED, chunk("It "), chunk("rains"), done(".")) == {
        "id": "chatcmpl-0199c0de12347000800000000000abcd",
        "object": "chat.completion",
        "created": CREATED,
        "model": "demo",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "It rains.", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8},
        "system_fingerprint": "fp_ollama",
    }


@pytest.mark.parametrize(
    ("written", "message", "reason"),
    [
        pytest.param([done()], {"content": ""}, "stop", id="nothing said"),
        pytest.param([chunk("a"), done(reason="length")], {"content": "a"}, "length", id="cut off"),
        pytest.param([done(reason="load")], {"content": ""}, "stop", id="a model loaded"),
        pytest.param(
            [chunk(thinking="h"), chunk("a", thinking="m"), done()],
            {"content": "a", "reasoning": "hm"},
            "stop",
            id="thoughts",
        ),
        pytest.param(
            [chunk(tool_calls=CALL), done()], {"content": None, "tool_calls": [CALLED]}, "tool_calls", id="a call"
        ),
        pytest.param(
            [chunk("a"), done(tool_calls=CALL)], {"content": "a", "tool_calls": [CALLED]}, "tool_calls", id="both"
        ),
        pytest.param(
            [chunk(tool_calls=CALL), chunk(tool_calls=CALL), done()],
            {"content": None, "tool_calls": [CALLED, {**CALLED, "id": "call_00000000abcd_1"}]},
            "tool_calls",
            id="two calls, one after the other",
        ),
        pytest.param([chunk("x"), resumed("restarted"), done("a")], {"content": "a"}, "stop", id="begun anew"),
    ],
)
def test_a_message_has_what_the_model_said(written: list[Written], message: dict[str, Any], reason: str) -> None:
    choice = chat(*written)["choices"][0]

    assert choice["message"] == {"role": "assistant", "refusal": None, **message}
    assert choice["finish_reason"] == reason


def test_a_prompt_is_completed_by_text() -> None:
    transcript = transcribe(events(chunk("It ", thinking="hm"), done("rains.", reason="length")))

    assert msgspec.to_builtins(text_completion(transcript, job_id=JOB_ID, model="demo")) == {
        "id": "cmpl-0199c0de12347000800000000000abcd",
        "object": "text_completion",
        "created": CREATED,
        "model": "demo",
        "choices": [{"text": "It rains.", "index": 0, "logprobs": None, "finish_reason": "length"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8},
        "system_fingerprint": "fp_ollama",
    }
