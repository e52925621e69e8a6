"""What README.md shows in JavaScript runs as it stands there."""

import re
from pathlib import Path

import pytest

from tests.clients.double import RemoteDouble
from tests.clients.node import Node
from tests.clients.offer import Offer
from tests.clients.questions import UNUSUAL
from tests.ollama_double import Answer

README = Path(__file__).parents[2] / "README.md"
EXAMPLES = {
    re.search(r'from "(.+?)"', example)[1]: example  # pyright: ignore[reportOptionalSubscript]
    for example in re.findall(r"```js\n(.*?)```", README.read_text(), re.DOTALL)
}


@pytest.mark.parametrize(
    "client", [pytest.param(name, marks=pytest.mark.client(name, "JavaScript")) for name in EXAMPLES]
)
async def test_an_example(node: Node, double: RemoteDouble, offer: Offer, client: str) -> None:
    double.script("llama3.2:3b", Answer(UNUSUAL))
    program = EXAMPLES[client].replace("http://127.0.0.1:8000", offer.url).replace("sk-ds-…", offer.api_key)

    assert await node.run(program) == "".join(UNUSUAL)


def test_the_examples_are_found() -> None:
    assert sorted(EXAMPLES) == ["@ai-sdk/openai-compatible", "openai"]
