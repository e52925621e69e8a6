"""What a request is taken to need in tokens until Ollama has counted them.

The prompt: a token for each 4 bytes of the request for Ollama in UTF-8 (messages, tools and options as JSON, but not
images), and 1024 for each image. The answer: `num_predict`, or `TOKENS_RESERVE_DEFAULT` where that bounds nothing.
What was too much is given back when the job ends, what was too little is charged.
"""

from msgspec import Struct

BYTES_PER_TOKEN = 4  # of English; of Chinese or Russian it is less, of source code more
TOKENS_PER_IMAGE = 1024  # models need from 256 to some thousands


class TokenEstimate(Struct, frozen=True):
    """What a request is taken to need."""

    prompt: int
    answer: int | None  # at most, as its sender wants it; None: they did not say
    prompt_param: str = "messages"  # what the sender calls the one
    answer_param: str = "options.num_predict"  # and the other

    def reserved(self, *, answer_default: int, most: int) -> int:
        """Return how much to reserve; nobody is refused for what they did not ask for, if the prompt itself fits.

        Args:
            answer_default: For an answer of which nothing is said.
            most: Can be reserved at all.

        """
        if self.answer is not None:
            return self.prompt + self.answer
        return max(self.prompt, min(self.prompt + answer_default, most))


def estimate_tokens(
    *,
    text_bytes: int,
    images: int,
    num_predict: int | None,
    prompt_param: str = "messages",
    answer_param: str = "options.num_predict",
) -> TokenEstimate:
    """Return the estimate for a request.

    Args:
        text_bytes: How large it is without its images.
        images: How many there are.
        num_predict: Ollama's option; None and what is negative bound nothing.
        prompt_param: What the request calls what is to be read.
        answer_param: What it calls the length of the answer.

    """
    prompt = -(-text_bytes // BYTES_PER_TOKEN) + TOKENS_PER_IMAGE * images
    answer = num_predict if num_predict is not None and num_predict >= 0 else None
    return TokenEstimate(prompt, answer, prompt_param, answer_param)
