"""What a model is asked to do, whichever surface the request came by."""

from collections.abc import Sequence

from msgspec import Struct

from gateway.chat.ollama_requests import OllamaChat, OllamaEmbed, OllamaGenerate, OllamaRequest
from shared.jobs import JobKind

_KINDS: dict[type[OllamaRequest], JobKind] = {
    OllamaChat: JobKind.CHAT,
    OllamaGenerate: JobKind.GENERATE,
    OllamaEmbed: JobKind.EMBED,
}


class Inference(Struct, frozen=True, kw_only=True):
    """A request in Ollama's terms."""

    request: OllamaRequest  # its model as the client names it
    is_stream: bool  # whether it is answered piece by piece
    can_come_back: bool = False  # whether its client can go on reading after a disconnect, without having sent a key
    images: Sequence[str] = ()  # all that are in it, in base64; they do not count as text
    num_predict: int | None = None  # most tokens of the answer; None: nothing is said
    prompt_param: str = "messages"  # what the client calls what is to be read, for refusals
    answer_param: str = "options.num_predict"  # what it calls the length of the answer
    calls_tools: bool = False
    timeout_ms: int | None = None  # from `started`; None: the operator's
    queue_timeout_ms: int | None = None  # from admission; None: the operator's

    @property
    def kind(self) -> JobKind:
        """What Ollama is asked to do."""
        return _KINDS[type(self.request)]
