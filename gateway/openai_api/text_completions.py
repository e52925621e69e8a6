"""The body of `POST /openai/v1/completions`, and what Ollama is asked for it."""

from typing import Annotated

from msgspec import Meta

from gateway.chat.inference import Inference
from gateway.chat.ollama_requests import OllamaGenerate
from gateway.chat.schemas import Text
from gateway.openai_api.sampling import Count, Sampling, options_of, refuse, refuse_several
from shared.errors import InvalidRequestError, UnsupportedParameterError

Tokens = list[int]


class CompletionRequest(Sampling, frozen=True, kw_only=True):
    """The body of `POST /openai/v1/completions`."""

    prompt: Text | Annotated[list[Text | int | Tokens], Meta(max_length=2048)]  # one text, alone or in a list
    suffix: Text | None = None
    best_of: Count | None = None
    echo: bool | None = None
    logprobs: Annotated[int, Meta(ge=0, le=20)] | bool | None = None


def to_generate(request: CompletionRequest) -> Inference:
    """Return what Ollama is to be asked.

    Raises:
        InvalidRequestError: There is no prompt.
        UnsupportedParameterError: The request asks for what there is not.

    """
    refuse_several(request)
    refuse("best_of", "One answer is made, and given.", unless=request.best_of in {None, 1})
    refuse("echo", "The prompt is not given back.", unless=not request.echo)
    refuse("logprobs", "Probabilities are not given.", unless=request.logprobs is None or request.logprobs is False)
    return Inference(
        request=OllamaGenerate(
            model=request.model,
            prompt=_one_text(request.prompt),
            suffix=request.suffix,
            stream=True,
            options=options_of(request, num_predict=request.max_tokens),
        ),
        is_stream=bool(request.stream),
        num_predict=request.max_tokens,
        prompt_param="prompt",
        answer_param="max_tokens",
    )


def _one_text(prompt: str | list[str | int | Tokens]) -> str:
    match prompt:
        case "" | [""] | []:  # for which Ollama would only load the model
            raise InvalidRequestError("Expected a prompt.", param="prompt")
        case str(text) | [str(text)]:
            return text
        case [str(), *_]:
            raise UnsupportedParameterError("One prompt is taken in a request.", param="prompt")
        case _:
            raise UnsupportedParameterError("Tokens are not taken: send the text.", param="prompt")
