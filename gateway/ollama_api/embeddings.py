"""Embeddings as Ollama's clients ask for them and read them: for many texts, or by the older call for one."""

from typing import Annotated

import msgspec
from msgspec import Meta, Raw, Struct

from gateway.chat.embed import MOST_TEXTS
from gateway.chat.inference import Inference
from gateway.chat.ollama_requests import OllamaEmbed
from gateway.chat.schemas import Duration, Text
from gateway.ollama_api.request_fields import OllamaOptions
from gateway.ollama_api.times import NS_PER_MS
from shared.events import Embedded
from shared.model_names import ModelName

Vector = Annotated[Raw, Meta(extra_json_schema={"type": "array", "items": {"type": "number"}})]
Vectors = Annotated[
    Raw, Meta(extra_json_schema={"type": "array", "items": {"type": "array", "items": {"type": "number"}}})
]


class EmbedRequest(Struct, frozen=True, kw_only=True):
    """The body of `POST /ollama/api/embed`; without an input it loads the model."""

    model: ModelName
    input: Text | Annotated[list[Text], Meta(max_length=MOST_TEXTS)] | None = None
    truncate: bool | None = None  # false: a text that does not fit the context is an error
    dimensions: Annotated[int, Meta(ge=0, le=1 << 20)] | None = None  # 0 and null: as many as the model has
    options: OllamaOptions | None = None
    keep_alive: Duration | None = None  # without effect


class OldEmbeddingRequest(Struct, frozen=True, kw_only=True):
    """The body of `POST /ollama/api/embeddings`; without a prompt it loads the model."""

    model: ModelName
    prompt: Text | None = None
    options: OllamaOptions | None = None
    keep_alive: Duration | None = None  # without effect


class EmbedAnswer(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The embeddings of all texts, in their order; durations in nanoseconds."""

    model: str  # as the client named it
    embeddings: Vectors
    total_duration: int = 0
    load_duration: int = 0
    prompt_eval_count: int = 0  # tokens


class OldEmbeddingAnswer(Struct, frozen=True):
    """The embedding of one text; without a text it is empty."""

    embedding: Vector


def to_embedding(request: EmbedRequest) -> Inference:
    """Return what Ollama is to be asked."""
    body = OllamaEmbed(
        model=request.model,
        input=request.input or [],
        truncate=request.truncate,
        dimensions=request.dimensions or None,
        options=request.options,
    )
    return Inference(request=body, is_stream=False, num_predict=0, prompt_param="input")


def to_old_embedding(request: OldEmbeddingRequest) -> Inference:
    """Return what Ollama is to be asked for the older call."""
    body = OllamaEmbed(model=request.model, input=request.prompt or [], options=request.options)
    return Inference(request=body, is_stream=False, num_predict=0, prompt_param="prompt")


def to_answer(embedded: Embedded, request: EmbedRequest) -> EmbedAnswer:
    """Return the answer to `request`, the numbers as Ollama wrote them."""
    return EmbedAnswer(
        model=request.model,
        embeddings=embedded.embeddings,
        total_duration=embedded.timings.total_ms * NS_PER_MS,
        load_duration=embedded.timings.load_ms * NS_PER_MS,
        prompt_eval_count=embedded.usage.prompt_tokens,
    )


def to_old_answer(embedded: Embedded) -> OldEmbeddingAnswer:
    """Return the answer to the older call."""
    vectors = msgspec.json.decode(embedded.embeddings, type=list[Raw])
    return OldEmbeddingAnswer(vectors[0] if vectors else Raw(b"[]"))
