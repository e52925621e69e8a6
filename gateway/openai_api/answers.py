"""Whole answers in OpenAI's form, and what their streams have in common with them."""

from collections.abc import Sequence
from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from gateway.openai_api.tool_calls import ToolCall, read_calls
from shared import ids
from shared.events import Usage
from shared.transcripts import Transcript

FINGERPRINT = "fp_ollama"  # as Ollama has it: nothing is known of what the model runs on

FinishReason = Literal["stop", "length", "tool_calls"]


class CompletionUsage(Struct, frozen=True):
    """Tokens."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class AssistantMessage(Struct, frozen=True, kw_only=True):
    """What the model answered."""

    role: Literal["assistant"] = "assistant"
    content: str | None  # null: it only calls tools
    refusal: None = None
    reasoning: str | UnsetType = UNSET  # what it thought
    tool_calls: Sequence[ToolCall] | UnsetType = UNSET


class ChatChoice(Struct, frozen=True, kw_only=True):
    """The answer; there is one."""

    index: int = 0
    message: AssistantMessage
    logprobs: None = None
    finish_reason: FinishReason


class ChatCompletion(Struct, frozen=True, kw_only=True):
    """A whole answer in a chat."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int  # seconds since 1970
    model: str  # as the client named it
    choices: Sequence[ChatChoice]
    usage: CompletionUsage
    system_fingerprint: str = FINGERPRINT


class TextChoice(Struct, frozen=True, kw_only=True):
    """The text that completes the prompt; there is one."""

    text: str
    index: int = 0
    logprobs: None = None
    finish_reason: FinishReason


class TextCompletion(Struct, frozen=True, kw_only=True):
    """A whole answer to a prompt."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int  # seconds since 1970
    model: str  # as the client named it
    choices: Sequence[TextChoice]
    usage: CompletionUsage
    system_fingerprint: str = FINGERPRINT


def chat_id(job_id: str) -> str:
    """Return the id of a chat's answer: the job's, so that a replay has the same."""
    return f"chatcmpl-{job_id.replace('-', '')}"


def text_id(job_id: str) -> str:
    """Return the id of a text's completion: the job's, so that a replay has the same."""
    return f"cmpl-{job_id.replace('-', '')}"


def created_s(job_id: str) -> int:
    """Return when a job was made, in seconds since 1970."""
    return ids.created_ms(job_id) // 1000


def usage_of(usage: Usage | None) -> CompletionUsage:
    """Return what was counted; zeros if nothing was."""
    prompt, completion = (usage.prompt_tokens, usage.completion_tokens) if usage else (0, 0)
    return CompletionUsage(prompt, completion, prompt + completion)


def finish_reason(done_reason: str | None, *, calls_tools: bool) -> FinishReason:
    """Return why the answer ended; what Ollama knows beyond OpenAI's reasons counts as an ordinary end."""
    if done_reason == "length":
        return "length"
    return "tool_calls" if calls_tools else "stop"


def chat_completion(transcript: Transcript, *, job_id: str, model: str) -> ChatCompletion:
    """Return a chat's answer.

    Args:
        transcript: What the model said.
        job_id: Whose answer it is.
        model: As the client named it.

    Raises:
        UpstreamError: Ollama's tool calls are none.

    """
    calls: list[ToolCall] = []
    for call in transcript.tool_calls:
        calls += read_calls(b"[%b]" % bytes(call), job_id=job_id, first=len(calls))
    message = AssistantMessage(
        content=None if calls and not transcript.content else transcript.content,
        reasoning=transcript.thinking or UNSET,
        tool_calls=calls or UNSET,
    )
    reason = finish_reason(transcript.done_reason, calls_tools=bool(calls))
    return ChatCompletion(
        id=chat_id(job_id),
        created=created_s(job_id),
        model=model,
        choices=[ChatChoice(message=message, finish_reason=reason)],
        usage=usage_of(transcript.usage),
    )


def text_completion(transcript: Transcript, *, job_id: str, model: str) -> TextCompletion:
    """Return the completion of a prompt; the arguments are those of `chat_completion`."""
    reason = finish_reason(transcript.done_reason, calls_tools=False)
    return TextCompletion(
        id=text_id(job_id),
        created=created_s(job_id),
        model=model,
        choices=[TextChoice(text=transcript.content, finish_reason=reason)],
        usage=usage_of(transcript.usage),
    )
