"""Reads streams of OpenAI's form, and is stricter than its SDKs: what they forgive fails here."""

import json
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

END = "[DONE]"
_SAME_IN_ALL = ("id", "object", "created", "model", "system_fingerprint")
_ROLE = {"role": "assistant", "content": ""}


class OpenAIStream(Struct, frozen=True, kw_only=True):
    """A stream that was read to its end."""

    chunks: Sequence[dict[str, Any]]  # without an error
    comments: Sequence[str]
    error: dict[str, Any] | None  # why it ended early; None: it is whole

    @property
    def choices(self) -> list[dict[str, Any]]:
        """The choices of all chunks, of which each has one at most."""
        return [choice for chunk in self.chunks for choice in chunk["choices"]]

    @property
    def text(self) -> str:
        """What the model said."""
        return "".join(
            choice["text"] if "text" in choice else choice["delta"].get("content", "") for choice in self.choices
        )

    @property
    def reasoning(self) -> str:
        """What the model thought."""
        return "".join(choice["delta"].get("reasoning", "") for choice in self.choices)

    @property
    def tool_calls(self) -> list[dict[str, Any]]:
        """What the model called."""
        return [call for choice in self.choices for call in choice["delta"].get("tool_calls", ())]

    @property
    def finish_reason(self) -> str | None:
        """Why the answer has ended; None: it has not."""
        return self.choices[-1]["finish_reason"] if self.choices else None

    @property
    def usage(self) -> dict[str, int] | None:
        """What was counted; None: nobody asked."""
        return self.chunks[-1].get("usage") if self.chunks else None


def read_stream(body: bytes) -> OpenAIStream:
    """Return what a response's body says.

    Raises:
        AssertionError: It is not what OpenAI's clients may be sent.

    """
    *blocks, rest = body.decode("ascii").split("\n\n")
    assert rest == "", f"the stream ends inside a frame: {rest!r}"
    assert all(block.startswith(("data: ", ": ")) and "\n" not in block for block in blocks), blocks
    data = [block.removeprefix("data: ") for block in blocks if not block.startswith(":")]
    chunks = [json.loads(frame) for frame in data if frame != END]
    error = chunks.pop()["error"] if chunks and "error" in chunks[-1] else None
    stream = OpenAIStream(
        chunks=chunks, comments=[block.removeprefix(": ") for block in blocks if block.startswith(":")], error=error
    )
    assert [place for place, frame in enumerate(data, 1) if frame == END] == ([] if error else [len(data)]), data
    _judge(stream)
    return stream


def _judge(stream: OpenAIStream) -> None:
    chunks, choices = stream.chunks, stream.choices
    is_whole = stream.error is None
    assert not any("error" in chunk for chunk in chunks), "an error in the middle"
    assert len({tuple(chunk[name] for name in _SAME_IN_ALL) for chunk in chunks}) <= 1, "a stream of two answers"
    finished = [choice["finish_reason"] is not None for choice in choices]
    assert finished == [False] * (len(choices) - is_whole) + [True] * is_whole, "it finishes once, at its end"
    assert all(choice["index"] == 0 and choice["logprobs"] is None for choice in choices)
    _judge_usage(chunks, is_whole=is_whole)
    if choices and "delta" in choices[0]:
        assert [choice["delta"] == _ROLE for choice in choices] == [True] + [False] * (len(choices) - 1), "role first"
        assert not any("role" in choice["delta"] for choice in choices[1:])
        assert choices[-1]["delta"] == {} or not is_whole, "the finish has an empty delta"
    elif choices:
        assert choices[-1]["text"] == "" or not is_whole


def _judge_usage(chunks: Sequence[dict[str, Any]], *, is_whole: bool) -> None:
    told = [chunk["usage"] for chunk in chunks if "usage" in chunk]
    assert len(told) in {0, len(chunks)}, "usage is in all chunks or in none"
    has_own_chunk = bool(told) and is_whole
    assert [usage is not None for usage in told] == [False] * (len(told) - has_own_chunk) + [True] * has_own_chunk
    assert [not chunk["choices"] for chunk in chunks] == [False] * (len(chunks) - has_own_chunk) + [
        True
    ] * has_own_chunk
