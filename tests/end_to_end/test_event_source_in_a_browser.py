"""A browser's own `EventSource` reads a stream by its link, from another origin and over a broken connection."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import httpx
import msgspec
import pytest
from aiohttp import web
from msgspec import Struct

from tests.browser import CHROMIUM, browsing
from tests.end_to_end.client import HANG_S
from tests.end_to_end.stack import Stack
from tests.faults.proxy import FaultProxy
from tests.http_server import serving
from tests.ollama_double import Answer, Hang

WORDS = tuple(f"{number} " for number in range(12))
BEFORE = 5  # words that the browser has read when the connection breaks

PAGE = """
<!doctype html><title>A reader</title><script>
const seen = {events: [], opened: 0, closed: false};
const report = () => fetch("/report", {method: "POST", body: JSON.stringify(seen)});
const source = new EventSource(new URLSearchParams(location.search).get("stream"));
source.onopen = () => { seen.opened += 1; report(); };
for (const type of ["queued", "started", "chunk", "resumed"])
  source.addEventListener(type, (event) => {
    seen.events.push({type, id: event.lastEventId, data: event.data});
    report();
  });
source.onerror = (event) => {
  if (event.data) seen.events.push({type: "error", id: event.lastEventId, data: event.data});
  seen.closed = source.readyState === EventSource.CLOSED;
  report();
};
</script>
"""


class Seen(Struct):
    """One event as the page was shown it."""

    type: str
    id: str  # the last one that the browser has heard of
    data: str


class Report(Struct):
    """What the page has seen so far."""

    events: list[Seen] = []
    opened: int = 0  # how often a stream began
    closed: bool = False  # whether the browser has given up, for good

    @property
    def chunks(self) -> list[Seen]:
        """The pieces of the answer."""
        return [event for event in self.events if event.type == "chunk"]


class Page:
    """Serves the page, and hears from it."""

    def __init__(self) -> None:
        self.report = Report()
        self._changed = asyncio.Event()

    async def answer(self, request: web.Request) -> web.Response:
        """Answer the browser."""
        if request.path == "/report":
            self.report = max(self.report, msgspec.json.decode(await request.read(), type=Report), key=_age)
            self._changed.set()
        return web.Response(text=PAGE, content_type="text/html")

    async def until(self, predicate: Callable[[Report], bool]) -> Report:
        """Return what the page has seen as soon as it is what is waited for."""
        async with asyncio.timeout(HANG_S):
            while not predicate(self.report):
                self._changed.clear()
                await self._changed.wait()
        return self.report


def _age(report: Report) -> tuple[int, int, bool]:
    return len(report.events), report.opened, report.closed


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
async def test_reads_every_event_once_although_the_connection_breaks(stack: Stack, tmp_path: Path) -> None:
    """It reconnects by itself where it was, and stops after the end, because there it is told 204."""
    gate = stack.gate()
    model = stack.model(Answer((*WORDS[:BEFORE], Hang(gate), *WORDS[BEFORE:])))
    page = Page()
    async with serving(page.answer) as address:
        gateway = await stack.add_gateway(allowed_origins=f"http://{address}", disconnect_grace_secs=60)
        client = await stack.client(gateway=gateway)
        async with client.stream(model) as first, FaultProxy(gateway.url) as wire:
            link = (await first.until("queued")).json["stream_url"].replace(gateway.url, wire.url)
            async with browsing(f"http://{address}/?{httpx.QueryParams(stream=link)}", profile=tmp_path / "browser"):
                await page.until(lambda report: len(report.chunks) == BEFORE)
                wire.reset()
                await page.until(lambda report: report.opened == 2)
                stack.double.release(gate)
                report = await page.until(lambda report: report.closed)
            await first.rest()

    assert [event.id for event in report.events] == [str(number + 1) for number in range(len(WORDS) + 2)]
    assert "".join(msgspec.json.decode(event.data)["content"] for event in report.chunks) == "".join(WORDS)
    assert report.opened == 2
