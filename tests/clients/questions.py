"""What the tests ask, and what the double answers, in the words of both protocols."""

import base64
from typing import Any

from pydantic import BaseModel

from tests.images import png
from tests.ollama_double import Answer, ToolCalls

PROMPT = "canary: what is the weather?"  # "canary" must not stand in any log; checks in JavaScript ask the same
PROMPT_TOKENS = len(PROMPT.split())  # as the double counts
HELLO = ("Hel", "lo", " there")
UNUSUAL = ("a\u0085b", " \u2028 ", "\u2029", "\x0c", '"\\', "🦀", "<&>")  # what line splitters and encoders trip over
IMAGE = base64.b64encode(png()).decode()


class City(BaseModel):
    """What an answer is to be."""

    name: str
    inhabitants: int


CITY = City(name="Zürich", inhabitants=0)


def weather(city: str) -> str:
    """Return the weather in a city.

    Args:
        city: Its name.

    """
    return f"sunny in {city}"


def call(city: str, index: int = 0) -> dict[str, Any]:
    """Return a call of `weather` as Ollama writes it."""
    return {"function": {"index": index, "name": "weather", "arguments": {"city": city}}}


def in_two_steps(*cities: str) -> tuple[Answer, Answer]:
    """Return the answers of a model that calls `weather` for each of these cities, then says what it was told."""
    return Answer((ToolCalls([call(city, index) for index, city in enumerate(cities)]),)), Answer(("It is ", "sunny."))
