"""Embeddings as OpenAI's clients ask for them and read them: as numbers, or as base64 of their bytes."""

import asyncio
import sys
from array import array
from base64 import b64encode
from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from gateway.chat.embed import MOST_TEXTS
from gateway.chat.inference import Inference
from gateway.chat.ollama_requests import OllamaEmbed
from gateway.chat.schemas import Text
from shared.errors import InvalidRequestError, UnsupportedParameterError
from shared.events import Embedded
from shared.model_names import ModelName

_NO_TOKENS = (
    "Tokens are not taken, since every model here has its own: send text. "
    "LangChain's OpenAIEmbeddings does with check_embedding_ctx_length=False."
)

Tokens = list[int]


class EmbeddingsRequest(Struct, frozen=True, kw_only=True):
    """The body of `POST /openai/v1/embeddings`. Null is as good as absent, unknown fields are ignored."""

    model: ModelName
    input: Text | Annotated[list[Text | int | Tokens], Meta(max_length=MOST_TEXTS)]  # text; tokens are refused
    encoding_format: Literal["float", "base64"] | None = None  # null: float
    dimensions: Annotated[int, Meta(ge=1, le=1 << 20)] | None = None  # null: as many as the model has


class Embedding(Struct, frozen=True, kw_only=True):
    """The embedding of one text."""

    object: Literal["embedding"] = "embedding"
    index: int  # of the text among the inputs
    embedding: Annotated[  # a string: the same as little-endian float32 in base64
        Raw, Meta(extra_json_schema={"anyOf": [{"type": "array", "items": {"type": "number"}}, {"type": "string"}]})
    ]


class EmbeddingUsage(Struct, frozen=True):
    """Tokens."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(Struct, frozen=True, kw_only=True):
    """The embeddings of all texts, in their order."""

    object: Literal["list"] = "list"
    data: Sequence[Embedding]
    model: str  # as the client named it
    usage: EmbeddingUsage


def to_embedding(request: EmbeddingsRequest) -> Inference:
    """Return what Ollama is to be asked; a text that is longer than the model's context is to be refused, not cut.

    Raises:
        InvalidRequestError: There is nothing to embed.
        UnsupportedParameterError: It is tokens.

    """
    texts: list[str] = []
    for place, text in enumerate([request.input] if isinstance(request.input, str) else request.input):
        param = "input" if isinstance(request.input, str) else f"input[{place}]"
        if not isinstance(text, str):
            raise UnsupportedParameterError(_NO_TOKENS, param="input")
        if not text:
            raise InvalidRequestError("An empty text cannot be embedded.", param=param)
        texts.append(text)
    if not texts:
        raise InvalidRequestError("There is nothing to embed.", param="input")
    body = OllamaEmbed(model=request.model, input=texts, truncate=False, dimensions=request.dimensions)
    return Inference(request=body, is_stream=False, num_predict=0, prompt_param="input")


async def to_embedding_list(embedded: Embedded, request: EmbeddingsRequest) -> EmbeddingList:
    """Return the answer to `request`: numbers as Ollama wrote them, or their bytes."""
    vectors: list[Raw] = msgspec.json.decode(embedded.embeddings, type=list[Raw])
    if request.encoding_format == "base64":
        vectors = [await _as_base64(vector) for vector in vectors]
    tokens = embedded.usage.prompt_tokens
    return EmbeddingList(
        data=[Embedding(index=index, embedding=vector) for index, vector in enumerate(vectors)],
        model=request.model,
        usage=EmbeddingUsage(prompt_tokens=tokens, total_tokens=tokens),
    )


async def _as_base64(vector: Raw) -> Raw:
    """Return the numbers as text of their bytes, and let others run meanwhile: of thousands it takes 0.1 s."""
    await asyncio.sleep(0)
    numbers = array("f", msgspec.json.decode(vector, type=list[float]))
    if sys.byteorder == "big":
        numbers.byteswap()
    return Raw(b'"%b"' % b64encode(numbers.tobytes()))
