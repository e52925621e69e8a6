"""What README.md shows in JavaScript runs as it stands there."""

import re
from pathlib import Path

import pytest

from tests.clients.double import RemoteDouble
from tests.clients.node import Node
from tests.clients.offer import Offer
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
    model = double.model(Answer(("Because ", "of ", "Rayleigh.")))
    ours = {"http://127.0.0.1:8000": offer.url, "sk-ds-…": offer.api_key, "llama3.2:3b": model}

    program = EXAMPLES[client]
    for theirs, own in ours.items():
        program = program.replace(theirs, own)

    assert await node.run(program) == "Because of Rayleigh."
