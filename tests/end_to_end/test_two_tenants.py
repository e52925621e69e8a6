"""What is somebody else's is answered as what does not exist: by every route that takes an id, whatever the id is of.

The routes are the gateway's own. One that is new and takes an id in its path (`{…_id}`) needs an entry in THINGS, one
that takes an id in its body an entry in BODIES: without it, these tests fail.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import httpx
import msgspec
import pytest
from msgspec import Struct

from shared.ids import new_id
from tests.end_to_end.client import Client, ask, chat
from tests.end_to_end.stack import Stack
from tests.end_to_end.talking import begin, say, show, told
from tests.hostile_requests import Route, routes
from tests.ollama_double import Answer, Hang

MODEL = "ada:latest"
DIFFER = {"date", "x-request-id"}  # between any two answers
ASYNC = {"Prefer": "respond-async"}

Judge = Callable[[Client], Awaitable[object]]


class Thing(Struct, frozen=True):
    """Something that belongs to one user."""

    id: str
    look: Judge  # what its owner sees of it; stays the same whatever others try


Make = Callable[[Stack, Client], Awaitable[Thing]]


async def job_that_runs(stack: Stack, owner: Client) -> Thing:
    made = await owner.chat(stack.model(Answer(("text", Hang()))), headers=ASYNC)
    return _job(made.json()["id"], waits_for="running")


async def job_that_ended(stack: Stack, owner: Client) -> Thing:
    async with owner.stream(stack.model(Answer(("text",)))) as stream:
        await stream.rest()
    await stack.until_recorded(stream.job_id)
    return _job(stream.job_id)


async def job_accepted_and_ended(stack: Stack, owner: Client) -> Thing:
    made = await owner.chat(stack.model(Answer(("text",))), headers=ASYNC)
    await stack.until_recorded(made.json()["id"])
    return _job(made.json()["id"])


def _job(job_id: str, *, waits_for: str = "") -> Thing:
    async def look(owner: Client) -> object:
        job = (await owner.http.get(f"/v1/chat/{job_id}")).json()
        return job["id"], waits_for or (job["status"], job["content"])

    return Thing(job_id, look)


async def conversation(stack: Stack, owner: Client) -> Thing:
    id_ = await begin(owner, title="Of my own")
    await say(owner, id_, stack.model(Answer(("text",))), "Begin.")

    async def look(owner: Client) -> object:
        return (await show(owner, id_))["title"], await told(owner, id_)

    return Thing(id_, look)


async def api_key(stack: Stack, owner: Client) -> Thing:
    program = await stack.program(owner)

    async def look(owner: Client) -> object:
        return [key["name"] for key in (await owner.http.get("/v1/api-keys")).json()["data"]]

    return Thing(program.account.id, look)


THINGS: Mapping[str, tuple[Make, ...]] = {
    "/v1/chat/{job_id}": (job_that_runs, job_that_ended, job_accepted_and_ended),
    "/v1/conversations/{conversation_id}": (conversation,),
    "/v1/api-keys/{key_id}": (api_key,),
}
"""By the path of a thing: what can be there."""

BODIES: Mapping[str, Callable[[str], dict[str, Any]]] = {
    "PATCH /v1/conversations/{conversation_id}": lambda _: {"title": "Of others"},
    "POST /v1/chat": lambda id_: chat(MODEL, conversation_id=id_),
    "POST /v1/chat/stream": lambda id_: chat(MODEL, conversation_id=id_),
}
"""By route: a body that is right, about the thing with this id."""


def _names_an_id(body: type[Struct]) -> bool:
    return any(field.name.endswith("_id") for field in msgspec.structs.fields(body))


ROUTES = routes()
BY_PATH = [route for route in ROUTES if "_id}" in route.path]
BY_BODY = [route for route in ROUTES if route.operation.body and _names_an_id(route.operation.body)]
BY_CURSOR = [route for route in ROUTES if any(parameter.name == "cursor" for parameter in route.operation.parameters)]


def at(route: Route) -> str:
    """Return the path of the thing that a route is about."""
    return route.path[: route.path.index("}") + 1]


def about(route: Route, make: Make) -> Any:  # noqa: ANN401  a set of parameters
    return pytest.param(route, make, id=f"{route.name} of {make.__name__}")


async def strangers(stack: Stack) -> list[Client]:
    """Return somebody else, as they come in after logging in, at either gateway, and at last with an API key."""
    eve = await stack.client("eve")
    return [eve, await stack.client("eve", gateway=stack.gateways[1]), await stack.program(eve)]


async def answer(client: Client, route: Route, path: str, body: Any = None, **query: str) -> httpx.Response:  # noqa: ANN401
    return await client.http.request(route.method, path, json=body, params=query)


def without_what_differs(response: httpx.Response, *ids: str) -> tuple[int, dict[str, str], str]:
    """Return an answer with its request id, and any of these ids, left out."""
    text = response.text
    for id_ in (response.headers["x-request-id"], *ids):
        text = text.replace(id_, "…")
    headers = {name: value for name, value in response.headers.items() if name not in DIFFER}
    return response.status_code, headers, text


def test_every_route_that_takes_an_id_is_here() -> None:
    assert {at(route) for route in BY_PATH} == THINGS.keys()
    takes_a_body = {route.name for route in (*BY_PATH, *BY_BODY) if route.operation.body}
    assert takes_a_body == BODIES.keys()


@pytest.mark.parametrize(("route", "make"), [about(route, make) for route in BY_PATH for make in THINGS[at(route)]])
async def test_in_the_path(stack: Stack, route: Route, make: Make) -> None:
    owner = await stack.newcomer()
    thing = await make(stack, owner)
    before = await thing.look(owner)
    body = BODIES[route.name](thing.id) if route.operation.body else None
    others = await strangers(stack)
    for other in others:
        nothing = new_id()
        theirs = await answer(other, route, route.at(thing.id), body)
        none = await answer(other, route, route.at(nothing), body)
        assert without_what_differs(theirs, thing.id) == without_what_differs(none, nothing)
        lacks_the_scope = other is others[-1] and theirs.status_code == 403  # as with any id
        if not lacks_the_scope:
            assert (theirs.status_code, theirs.json()["error"]["code"]) == (404, "not_found")
    assert await thing.look(owner) == before
    if make is job_that_runs:
        await owner.cancel(thing.id)


@pytest.mark.parametrize("route", BY_BODY, ids=lambda route: route.name)
async def test_in_the_body(stack: Stack, route: Route) -> None:
    owner = await stack.newcomer()
    thing = await conversation(stack, owner)
    before = await thing.look(owner)
    others = await strangers(stack)
    for other in others:
        nothing = new_id()
        theirs = await answer(other, route, route.path, BODIES[route.name](thing.id))
        none = await answer(other, route, route.path, BODIES[route.name](nothing))
        assert without_what_differs(theirs, thing.id) == without_what_differs(none, nothing)
        assert theirs.status_code == 404
    assert await thing.look(owner) == before


@pytest.mark.parametrize("route", BY_CURSOR, ids=lambda route: route.name)
async def test_as_the_place_where_a_page_begins(stack: Stack, route: Route) -> None:
    """A cursor is an id: of others' things it shows nothing of theirs, and no more than that of nothing."""
    owner, stranger = await stack.newcomer(), await stack.newcomer()
    path = route.path
    if "{" in path:
        path = route.at(await begin(stranger))
    for make in (conversation, job_that_ended, api_key):
        thing = await make(stack, owner)
        theirs = await answer(stranger, route, path, cursor=thing.id)
        none = await answer(stranger, route, path, cursor=new_id())
        assert without_what_differs(theirs, thing.id) == without_what_differs(none)
        if theirs.is_success:
            assert theirs.json() == {"data": [], "next_cursor": None}


async def test_in_a_link(stack: Stack) -> None:
    """The link to a job of one's own opens no other job."""
    owner, stranger = await stack.newcomer(), await stack.newcomer()
    thing = await job_that_ended(stack, owner)
    made = await stranger.http.post(
        "/v1/chat", json=chat(stack.model(Answer(("text",))), messages=ask("?")), headers=ASYNC
    )
    link = httpx.URL(made.json()["stream_url"])
    async with httpx.AsyncClient() as http:
        assert (await http.get(link)).status_code == 200
        nothing = new_id()
        theirs = await http.get(link.copy_with(path=f"/v1/chat/{thing.id}/stream"))
        none = await http.get(link.copy_with(path=f"/v1/chat/{nothing}/stream"))
    assert without_what_differs(theirs, thing.id) == without_what_differs(none, nothing)
    assert theirs.status_code in {401, 404}
