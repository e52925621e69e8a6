"""Pages of other origins use the official clients in a browser (CORS)."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from tests.browser import CHROMIUM, browsing
from tests.clients.double import RemoteDouble
from tests.clients.node import HERE
from tests.clients.offer import Offer
from tests.clients.questions import HELLO
from tests.http_server import serving
from tests.ollama_double import Answer, Hang

PAGE = """
<!doctype html><title>A page of another origin</title>
<script type="application/json" id="given">%s</script>
<script type="importmap">{"imports": {
  "openai": "/node_modules/openai/index.mjs",
  "ollama/browser": "/node_modules/ollama/dist/browser.mjs",
  "whatwg-fetch": "/node_modules/whatwg-fetch/fetch.js"
}}</script>
<script type="module" src="/page.mjs"></script>
"""
HANG_S = 45.0  # a limit for hanging, not an expectation


class Site:
    """Serves the page with its modules, and hears from it.

    Args:
        given: What the page is told.

    """

    def __init__(self, given: dict[str, Any]) -> None:
        self._page = PAGE % msgspec.json.encode(given).decode()
        self.report: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer the browser."""
        if request.path == "/report":
            self.report.set_result(msgspec.json.decode(await request.read()))
        elif request.path.endswith((".mjs", ".js")):
            return web.FileResponse(HERE / request.path.removeprefix("/"), headers={"Content-Type": "text/javascript"})
        return web.Response(text=self._page, content_type="text/html")


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
@pytest.mark.client("openai and ollama in Chromium")
async def test_official_clients_in_a_page(offer: Offer, double: RemoteDouble, newcomer: str, tmp_path: Path) -> None:
    model, endless = double.model(Answer(HELLO)), double.model(Answer(("one ", Hang())))
    site = Site(
        {
            "url": offer.url,
            "key": offer.api_key,
            "strictUrl": offer.strict_url,
            "strictKey": newcomer,
            "model": model,
            "endless": endless,
        }
    )
    async with (
        serving(site.answer) as address,
        browsing(f"http://{address}/", profile=tmp_path / "browser"),
        asyncio.timeout(HANG_S),
    ):
        report = await site.report

    assert report["openaiStreamed"] == "Hello there"
    assert report["openaiModels"] >= len(offer.models)
    assert report["openaiHeaders"]["request_id"]
    assert len(report["openaiHeaders"]["limits"]) == 6
    assert report["openaiTooOften"]["class"] == "RateLimitError"
    assert report["openaiTooOften"]["retryAfter"] == "1"
    assert report["openaiStranger"]["class"] == "AuthenticationError"
    assert report["openaiStranger"]["requestID"]
    assert report["openaiLeft"] == "left"
    assert report["ollamaStreamed"] == "Hello there"
    assert report["ollamaModels"] >= len(offer.models)
    assert report["ollamaStranger"]["status"] == 401
    double.until(lambda asked: "aborted" in [each.outcome for each in asked], "the model that was left has stopped")
