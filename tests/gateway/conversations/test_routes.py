"""Conversations are made, shown, renamed and listed for their owner alone; without a worker nothing is said in them."""

from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest

from shared.ids import new_id
from tests.processes import ServerProcess

NEVER = "00000000-0000-7000-8000-000000000000"
PATHS = [("GET", ""), ("PATCH", ""), ("DELETE", ""), ("GET", "/messages"), ("GET", "/export")]


@pytest.fixture
async def people(gateway: ServerProcess) -> AsyncGenerator[list[httpx.AsyncClient]]:
    """Two users who have done nothing yet."""
    async with httpx.AsyncClient(base_url=gateway.url) as ada, httpx.AsyncClient(base_url=gateway.url) as bob:
        for client in (ada, bob):
            credentials = {"email": f"{new_id()}@example.org", "password": "a quiet harbour at dawn"}
            await client.post("/v1/auth/signup", json=credentials)
            token = (await client.post("/v1/auth/login", json=credentials)).json()["access_token"]
            client.headers["Authorization"] = f"Bearer {token}"
        yield [ada, bob]


@pytest.fixture
def ada(people: list[httpx.AsyncClient]) -> httpx.AsyncClient:
    return people[0]


async def make(client: httpx.AsyncClient, **fields: object) -> dict[str, Any]:
    response = await client.post("/v1/conversations", json=fields)
    assert response.status_code == 201, response.text
    assert response.headers["Location"] == f"/v1/conversations/{response.json()['id']}"
    return response.json()


async def listed(client: httpx.AsyncClient, **query: str | int) -> list[str | None]:
    response = await client.get("/v1/conversations", params=query)
    assert response.status_code == 200, response.text
    return [conversation["title"] for conversation in response.json()["data"]]


def error_of(response: httpx.Response) -> dict[str, Any]:
    return {name: value for name, value in response.json()["error"].items() if name != "request_id"}


async def test_one_is_made_shown_renamed_and_deleted(ada: httpx.AsyncClient) -> None:
    made = await make(ada)
    assert made == {
        "id": made["id"],
        "title": None,
        "created_at": made["created_at"],
        "updated_at": made["created_at"],
        "job_id": None,
    }
    assert made["created_at"].endswith("Z")
    path = f"/v1/conversations/{made['id']}"
    renamed = await ada.patch(path, json={"title": "Cats"})
    assert (renamed.status_code, renamed.json()["title"]) == (200, "Cats")
    assert renamed.json()["updated_at"] > made["updated_at"]
    assert (await ada.get(path)).json() == renamed.json()
    assert (await ada.get(f"{path}/messages")).json() == {"data": [], "next_cursor": None}
    deleted = await ada.delete(path)
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert (await ada.get(path)).status_code == 404


async def test_they_are_listed_by_last_activity_page_by_page(ada: httpx.AsyncClient) -> None:
    made = {title: (await make(ada, title=title))["id"] for title in "abcde"}
    await ada.patch(f"/v1/conversations/{made['b']}", json={"title": "b again"})
    pages: list[list[str]] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await ada.get("/v1/conversations", params={"limit": "2", **cursor})).json()
        pages.append([conversation["title"] for conversation in page["data"]])
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert pages == [["b again", "e"], ["d", "c"], ["a"]]
    assert await listed(ada) == ["b again", "e", "d", "c", "a"]


async def test_they_are_found_by_the_words_of_their_titles(people: list[httpx.AsyncClient]) -> None:
    ada, bob = people
    for client in people:
        for title in ("A cat", "A dog", "Cat and dog"):
            await make(client, title=title)
    await make(bob, title="cat cat cat")
    assert await listed(ada, q="cat") == ["Cat and dog", "A cat"]
    assert await listed(ada, q="cat -dog", limit=1) == ["A cat"]
    assert await listed(ada, q="???") == []
    assert len(await listed(ada, q=" ")) == 3


@pytest.mark.parametrize(("method", "path"), PATHS)
async def test_somebody_elses_is_as_one_that_never_was(people: list[httpx.AsyncClient], method: str, path: str) -> None:
    ada, bob = people
    theirs = (await make(bob, title="Bob's"))["id"]
    body = {"title": "Mine"} if method == "PATCH" else None
    answers = [
        await ada.request(method, f"/v1/conversations/{id_}{path}", json=body)
        for id_ in (theirs, NEVER, "no-id", theirs.upper())
    ]
    assert [answer.status_code for answer in answers] == [404] * 4
    assert [error_of(answer) for answer in answers] == [error_of(answers[1])] * 4
    assert await listed(bob) == ["Bob's"]


async def test_a_chat_in_somebody_elses_is_refused_as_in_none(people: list[httpx.AsyncClient]) -> None:
    ada, bob = people
    theirs = (await make(bob))["id"]
    said = [{"role": "user", "content": "Hi."}]
    answers = [
        await ada.post(path, json={"model": "any", "messages": said, "conversation_id": id_})
        for path in ("/v1/chat", "/v1/chat/stream")
        for id_ in (theirs, NEVER)
    ]
    assert {answer.status_code for answer in answers} == {404}
    assert [error_of(answer) for answer in answers] == [error_of(answers[1])] * 4
    assert error_of(answers[0])["code"] == "not_found"
    malformed = await ada.post("/v1/chat", json={"model": "any", "messages": said, "conversation_id": "../../etc"})
    assert (malformed.status_code, error_of(malformed)["param"]) == (422, "conversation_id")


async def test_an_api_key_needs_a_scope_of_its_own(ada: httpx.AsyncClient) -> None:
    made = (await make(ada))["id"]
    key = (await ada.post("/v1/api-keys", json={"name": "chats", "scopes": ["chat"]})).json()["key"]
    chat = {"model": "any", "messages": [{"role": "user", "content": "Hi."}]}
    headers = {"Authorization": f"Bearer {key}"}
    refused = [
        await ada.post("/v1/chat/stream", json={**chat, "conversation_id": made}, headers=headers),
        await ada.get("/v1/conversations", headers=headers),
    ]
    assert [answer.status_code for answer in refused] == [403, 403]
    assert {error_of(answer)["code"] for answer in refused} == {"insufficient_scope"}
    assert error_of(await ada.post("/v1/chat", json=chat, headers=headers))["code"] == "model_not_found"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"title": ""}, id="an empty title"),
        pytest.param({"title": "x" * 201}, id="a long title"),
        pytest.param({"title": "two\nlines"}, id="two lines"),
        pytest.param({"title": "esc\x1b[2J"}, id="control characters"),
        pytest.param({"title": 5}, id="a number"),
        pytest.param({"titel": "x"}, id="an unknown field"),
        pytest.param([], id="no object"),
    ],
)
async def test_what_is_no_title_is_refused(ada: httpx.AsyncClient, body: object) -> None:
    path = f"/v1/conversations/{(await make(ada))['id']}"
    for method, target in (("POST", "/v1/conversations"), ("PATCH", path)):
        assert (await ada.request(method, target, json=body)).status_code == 422
    assert (await ada.patch(path, json={})).status_code == 422


@pytest.mark.parametrize(
    ("query", "param"),
    [
        pytest.param({"limit": "0"}, "limit", id="no length"),
        pytest.param({"limit": "101"}, "limit", id="a long page"),
        pytest.param({"limit": "\N{ARABIC-INDIC DIGIT ONE}"}, "limit", id="another script's digits"),
        pytest.param({"cursor": "x"}, "cursor", id="no cursor"),
        pytest.param({"cursor": f"1-{'z' * 36}"}, "cursor", id="a cursor without id"),
        pytest.param({"cursor": f"{'9' * 18}-{NEVER}"}, "cursor", id="a cursor after the end of time"),
        pytest.param({"cursor": f"{'9' * 400}-{NEVER}"}, "cursor", id="a cursor far after the end of time"),
        pytest.param({"cursor": ""}, "cursor", id="an empty cursor"),
        pytest.param({"q": "x" * 401}, "q", id="many words"),
    ],
)
async def test_what_is_no_page_is_refused(ada: httpx.AsyncClient, query: dict[str, str], param: str) -> None:
    refused = await ada.get("/v1/conversations", params=query)
    assert (refused.status_code, error_of(refused)["param"]) == (422, param)
    if "q" not in query:
        refused = await ada.get(f"/v1/conversations/{(await make(ada))['id']}/messages", params=query)
        assert (refused.status_code, error_of(refused)["param"]) == (422, param)


async def test_an_empty_one_is_exported(ada: httpx.AsyncClient) -> None:
    made = await make(ada, title="Nothing")
    exported = await ada.get(f"/v1/conversations/{made['id']}/export")
    del made["job_id"]
    assert exported.json() == {**made, "messages": []}
    assert exported.headers["Content-Type"] == "application/json"
    assert exported.headers["Content-Disposition"] == f'attachment; filename="conversation-{made["id"]}.json"'
