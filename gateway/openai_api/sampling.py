"""What both kinds of completions may ask of how a model answers. Null is as good as absent, unknown fields are ignored.

What is refused here would change the form of the answer; what would only advise the model is ignored
(docs/decisions/0021-what-openai-clients-may-ask.md).
"""

from typing import Annotated

from msgspec import Meta, Struct

from gateway.chat.schemas import Options, Penalty, Unit
from shared.errors import UnsupportedParameterError
from shared.model_names import ModelName

MOST_TOKENS = 1_000_000  # as on /v1

Stop = Annotated[str, Meta(max_length=1024)]
TokenBound = Annotated[int, Meta(ge=1, le=MOST_TOKENS)]  # not 0, which Ollama takes for no bound
Count = Annotated[int, Meta(ge=1, le=128)]


class StreamOptions(Struct, frozen=True):
    """What a stream brings besides the answer."""

    include_usage: bool | None = None


class Sampling(Struct, frozen=True, kw_only=True):
    """What a completion of either kind may ask for."""

    model: ModelName
    stream: bool | None = None
    stream_options: StreamOptions | None = None  # without effect on what is not streamed
    max_tokens: TokenBound | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Unit | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    stop: Stop | Annotated[list[Stop], Meta(max_length=16)] | None = None
    n: Count | None = None

    @property
    def includes_usage(self) -> bool:
        """Whether a stream is to end with the usage."""
        return bool(self.stream_options and self.stream_options.include_usage)


def options_of(sampling: Sampling, *, num_predict: int | None) -> Options:
    """Return Ollama's options for what a client has set; the rest stays as the model has it, not as OpenAI has it.

    Args:
        sampling: What the client asks for.
        num_predict: At most so many tokens; None: as many as it takes.

    """
    stop = [sampling.stop] if isinstance(sampling.stop, str) else sampling.stop or []
    return Options(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        seed=sampling.seed,
        num_predict=num_predict,
        presence_penalty=sampling.presence_penalty,
        frequency_penalty=sampling.frequency_penalty,
        stop=[text for text in stop if text] or None,  # with an empty one Ollama stops before the first word
    )


def refuse(param: str, message: str, *, unless: bool) -> None:
    """Refuse what a parameter asks for.

    Raises:
        UnsupportedParameterError: It asks for what there is not.

    """
    if not unless:
        raise UnsupportedParameterError(message, param=param)


def refuse_several(sampling: Sampling) -> None:
    """Refuse several answers at once: they would be as many jobs under one name.

    Raises:
        UnsupportedParameterError: There are to be several.

    """
    refuse("n", "One answer is given to a request; send it again for another.", unless=sampling.n in {None, 1})
