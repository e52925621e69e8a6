"""What a client may ask of a chat. Unknown fields are refused; ranges are Ollama's, or what harms nobody else."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Raw, Struct

from gateway.chat.free_json import FREE_JSON, free_json_fault
from gateway.chat.images import image_fault
from shared.clock import Timestamp
from shared.events import ErrorDetail, Usage
from shared.jobs import JobStatus
from shared.model_names import ModelName

Unit = Annotated[float, Meta(ge=0, le=1)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
Text = Annotated[str, Meta(max_length=8 * 1024 * 1024)]
Id = Annotated[str, Meta(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$(?!\n)")]
MOST_MESSAGES = 4096  # of a chat, and of a conversation

Image = Annotated[
    str, Meta(description="A PNG, JPEG or WebP in base64.", extra_json_schema={"contentEncoding": "base64"})
]
_GO_DURATION = r"^[+-]?(0|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$(?!\n)"
Duration = (
    Annotated[str, Meta(max_length=64, pattern=_GO_DURATION, examples=["5m"])]
    | Annotated[float, Meta(ge=-(10**9), le=10**9, description="Seconds.")]
)
"""As Ollama takes it: Go's text of a duration, or a number; below 0 is for ever."""


class Options(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Ollama's options that a tenant may set; those that steer the machine itself are the operator's."""

    temperature: Annotated[float, Meta(ge=0, le=5)] | None = None
    top_k: Annotated[int, Meta(ge=0, le=10_000)] | None = None
    top_p: Unit | None = None
    min_p: Unit | None = None
    typical_p: Unit | None = None
    seed: Annotated[int, Meta(ge=-(2**31), le=2**53)] | None = None
    num_predict: Annotated[int, Meta(ge=-2, le=1_000_000)] | None = None
    num_ctx: Annotated[int, Meta(ge=1, le=1_048_576)] | None = None
    num_keep: Annotated[int, Meta(ge=-1, le=1_048_576)] | None = None
    repeat_last_n: Annotated[int, Meta(ge=-1, le=1_048_576)] | None = None
    repeat_penalty: Annotated[float, Meta(ge=0, le=10)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    stop: Annotated[list[Annotated[str, Meta(max_length=1024)]], Meta(max_length=16)] | None = None


class FunctionCall(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A call of a function that the model made earlier in the chat."""

    name: Annotated[str, Meta(min_length=1, max_length=256)]
    arguments: Annotated[dict[str, Any], FREE_JSON]
    index: Annotated[int, Meta(ge=0, le=1 << 31)] | None = None

    def __post_init__(self) -> None:
        demand(free_json_fault(self.arguments), "arguments")


class ToolCall(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A function call as Ollama wraps it."""

    function: FunctionCall
    id: Annotated[str, Meta(max_length=256)] | None = None


class Message(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One message of a chat."""

    role: Literal["system", "user", "assistant", "tool"]
    content: Text
    thinking: Text | None = None
    images: Annotated[list[Image], Meta(max_length=32)] | None = None
    tool_calls: Annotated[list[ToolCall], Meta(max_length=128)] | None = None
    tool_name: Annotated[str, Meta(max_length=256)] | None = None

    def __post_init__(self) -> None:
        for place, image in enumerate(self.images or ()):
            demand(image_fault(image), f"images[{place}]")


class ChatRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /v1/chat` and `POST /v1/chat/stream`."""

    model: ModelName
    messages: Annotated[list[Message], Meta(min_length=1, max_length=MOST_MESSAGES)]
    options: Options | None = None
    format: Literal["json"] | Annotated[dict[str, Any], FREE_JSON] | None = None
    tools: Annotated[list[dict[str, Any]], Meta(max_length=512), FREE_JSON] | None = None
    think: bool | Literal["low", "medium", "high"] | None = None
    conversation_id: Id | None = None  # what was said in it comes before the messages, which are stored in it
    keep_alive: Duration | None = None  # understood and without effect: tenants do not steer the GPU
    timeout_ms: Annotated[int, Meta(ge=1, le=86_400_000)] | None = None  # from `started`
    queue_timeout_ms: Annotated[int, Meta(ge=1, le=86_400_000)] | None = None  # from admission

    def __post_init__(self) -> None:
        if isinstance(self.format, dict):
            demand(free_json_fault(self.format), "format")
        if self.tools:
            demand(free_json_fault(self.tools), "tools")


def demand(fault: str | None, field: str) -> None:
    """Have msgspec refuse a value, with the path to the object whose field this is; a fault begins with `Expected`."""
    if fault:
        raise ValueError(f"{fault} in field `{field}`")


class JobTimings(Struct, frozen=True):
    """Where the time went, in milliseconds."""

    queue_ms: int
    load_ms: int | None
    first_token_ms: int | None
    total_ms: int
    prompt_eval_ms: float | None = None
    eval_ms: float | None = None


class ChatJob(Struct, frozen=True, kw_only=True):
    """How a job stands, and what it has answered so far."""

    id: str
    status: JobStatus
    model: str
    position: int | None  # in the queue, from 1; null: it does not wait
    content: str | None  # after the last `restarted`; null: it is not kept any more
    thinking: str | None = None
    tool_calls: list[Raw] | None = None
    done_reason: str | None = None
    usage: Usage | None = None
    timings: JobTimings | None = None
    error: ErrorDetail | None = None  # why it did not complete
    created_at: Timestamp
    started_at: Timestamp | None = None  # when a worker first took it
    finished_at: Timestamp | None = None
    is_durable: bool  # whether its answer is kept for JOB_RETENTION_DAYS
    stream_url: str


class JobSummary(Struct, frozen=True, kw_only=True):
    """How a job stands, in a list."""

    id: str
    status: JobStatus
    model: str
    created_at: Timestamp
    started_at: Timestamp | None = None
    finished_at: Timestamp | None = None
    is_durable: bool


class JobPage(Struct, frozen=True):
    """Some of the caller's jobs, newest first."""

    data: list[JobSummary]
    next_cursor: str | None  # for the page after this one; null: there is none


class StoppingJob(Struct, frozen=True, kw_only=True):
    """A job that is being stopped."""

    id: str
    status: Literal["stopping"]
    model: str
