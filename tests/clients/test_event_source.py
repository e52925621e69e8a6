"""The `EventSource` of programs reads a stream by its link."""

import httpx
import pytest
from aiohttp import web

from tests.clients.double import RemoteDouble
from tests.clients.node import Node
from tests.clients.offer import Offer
from tests.clients.questions import PROMPT
from tests.faults.proxy import FaultProxy
from tests.http_server import serving
from tests.ollama_double import Answer, Hang

pytestmark = pytest.mark.client("eventsource", "JavaScript")

WORDS = tuple(f"{number} " for number in range(12))
BEFORE = 5  # words that the client has read when the connection breaks


async def test_reads_every_event_once_although_the_connection_breaks(
    node: Node, double: RemoteDouble, offer: Offer
) -> None:
    gate = double.gate()
    model = double.model(Answer((*WORDS[:BEFORE], Hang(gate), *WORDS[BEFORE:])))
    async with FaultProxy(offer.url) as wire:

        async def break_off(_request: web.Request) -> web.Response:
            wire.reset()
            double.release(gate)
            return web.Response()

        async with serving(break_off) as address:
            url = link_to(offer, model).replace(offer.url, wire.url)
            read = await node("eventsource", "read", url=url, pieces=BEFORE, halfway=f"http://{address}/")

    assert [event["id"] for event in read["events"]] == [str(number + 1) for number in range(len(WORDS) + 2)]
    pieces = [event["data"] for event in read["events"] if event["type"] == "chunk"]
    assert "".join(piece["content"] for piece in pieces) == "".join(WORDS)
    assert [piece["done"] for piece in pieces] == [*(False for _ in WORDS), True]
    assert read["opened"] == 2


async def test_a_link_that_is_not_good_is_not_tried_again(node: Node, double: RemoteDouble, offer: Offer) -> None:
    url = link_to(offer, double.model(Answer(("text",))))

    assert await node("eventsource", "refused", url=url[:-4] + "0000") == {"code": 401, "closed": True}


def link_to(offer: Offer, model: str) -> str:
    """Return the link to the stream of a new job."""
    accepted = httpx.post(
        f"{offer.url}/v1/chat",
        json={"model": model, "messages": [{"role": "user", "content": PROMPT}]},
        headers={"Authorization": f"Bearer {offer.api_key}", "Prefer": "respond-async"},
    )
    return accepted.raise_for_status().json()["stream_url"]
