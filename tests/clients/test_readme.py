"""What README.md shows in Python runs as it stands there, with another address and key."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clients.double import RemoteDouble
from tests.clients.offer import Offer
from tests.clients.questions import UNUSUAL
from tests.ollama_double import Answer

README = Path(__file__).parents[2] / "README.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
PACKAGES = {"openai": "openai", "ollama": "ollama", "langchain_openai": "langchain-openai"}


def client_of(example: str) -> str:
    """Return the package that an example shows."""
    module = re.search(r"^from (\w+) import", example, re.MULTILINE)
    assert module is not None
    return PACKAGES[module[1]]


@pytest.mark.parametrize(
    "example",
    [pytest.param(text, id=client_of(text), marks=pytest.mark.client(client_of(text), "Python")) for text in EXAMPLES],
)
def test_an_example(offer: Offer, double: RemoteDouble, example: str) -> None:
    double.script("llama3.2:3b", Answer(UNUSUAL))
    program = example.replace("http://127.0.0.1:8000", offer.url).replace("sk-ds-…", offer.api_key)
    said = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONUTF8": "1"}, capture_output=True, check=False, encoding="utf-8"
    )
    assert said.stdout == "".join(UNUSUAL), said.stderr


def test_the_examples_are_found() -> None:
    assert sorted(map(client_of, EXAMPLES)) == sorted(PACKAGES.values())
