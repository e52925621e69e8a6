"""`llm`, the command, with the model named in its file of extra models."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clients.double import RemoteDouble
from tests.clients.offer import Offer
from tests.clients.questions import CITY, IMAGE, PROMPT, UNUSUAL, in_two_steps
from tests.images import png
from tests.ollama_double import Answer

pytestmark = pytest.mark.client("llm", "Python")

TOOL = 'def weather(city: str) -> str:\n    "The weather in a city."\n    return f"sunny in {city}"\n'


class Terminal:
    """Somebody at a terminal who has told `llm` of the product.

    Args:
        home: Where `llm` keeps its files.
        offer: The product.

    """

    def __init__(self, home: Path, offer: Offer) -> None:
        self.home = home
        self._offer = offer

    def llm(self, model: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Ask a model."""
        known = {
            "model_id": "ours",
            "model_name": model,
            "api_base": f"{self._offer.url}/openai/v1",
            "api_key_name": "ours",
            "supports_tools": True,
            "supports_schema": True,
            "vision": True,
        }
        (self.home / "extra-openai-models.yaml").write_text(json.dumps([known]))
        (self.home / "keys.json").write_text(json.dumps({"ours": self._offer.api_key}))
        return subprocess.run(
            [Path(sys.executable).with_name("llm"), "-m", "ours", "--no-log", *words, PROMPT],
            env={"LLM_USER_PATH": str(self.home), "HOME": str(self.home), "PYTHONUTF8": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            encoding="utf-8",
        )


@pytest.fixture
def terminal(tmp_path: Path, offer: Offer) -> Terminal:
    """A terminal."""
    return Terminal(tmp_path, offer)


@pytest.mark.parametrize("words", [[], ["--no-stream"]], ids=["streamed", "whole"])
def test_an_answer(terminal: Terminal, double: RemoteDouble, words: list[str]) -> None:
    said = terminal.llm(double.model(Answer(UNUSUAL)), *words)
    assert (said.stdout, said.returncode) == ("".join(UNUSUAL) + "\n", 0), said.stderr


def test_tools_are_called_and_their_results_go_back(terminal: Terminal, double: RemoteDouble) -> None:
    said = terminal.llm(double.model(*in_two_steps("Zürich")), "--functions", TOOL)
    assert said.stdout == "It is sunny.\n", said.stderr
    assert double.asked()[1].request["messages"][-1]["content"] == "sunny in Zürich"


def test_an_answer_has_the_form_that_was_asked_for(terminal: Terminal, double: RemoteDouble) -> None:
    said = terminal.llm(double.model(Answer((CITY.model_dump_json(),))), "--schema", "name, inhabitants int")
    assert json.loads(said.stdout) == CITY.model_dump(), said.stderr
    assert list(double.asked()[0].request["format"]["properties"]) == ["name", "inhabitants"]


def test_images_are_seen(terminal: Terminal, double: RemoteDouble) -> None:
    image = terminal.home / "dot.png"
    image.write_bytes(png())
    said = terminal.llm(double.model(Answer(("a dot",))), "-a", str(image), "-o", "temperature", "0", "-o", "seed", "0")
    assert said.stdout == "a dot\n", said.stderr
    request = double.asked()[0].request
    assert request["messages"][0]["images"] == [IMAGE]
    assert request["options"] == {"temperature": 0, "seed": 0}


def test_an_unknown_model(terminal: Terminal) -> None:
    said = terminal.llm("nobody")
    assert said.returncode == 1
    assert "nobody" in said.stderr
