"""A program comes in with a key of its user, does what the key allows, and nothing more."""

import json

import pytest

from shared.audit import SecurityEvent
from tests.end_to_end.client import Client, chat
from tests.end_to_end.stack import MODELS, Stack
from tests.end_to_end.test_durable_jobs import accept, until
from tests.ollama_double import Answer
from tests.waiting import wait_until


async def names_of(client: Client) -> list[str]:
    return (await client.http.get("/v1/models")).json()


async def test_it_asks_at_every_gateway_as_its_user(stack: Stack) -> None:
    model = stack.model(Answer(("Once",)))
    owner = await stack.newcomer()
    for gateway in stack.gateways:
        program = await stack.program(owner, gateway=gateway)
        async with program.stream(model) as stream:
            await stream.rest()
        assert stream.text == "Once"
        assert (await program.chat(model)).status_code == 200
        shown = await owner.http.get(f"/v1/chat/{stream.job_id}")
        assert (shown.status_code, shown.json()["status"]) == (200, "completed")
    listed = (await owner.http.get("/v1/chat")).json()["data"]
    assert len(listed) == 4


async def test_it_asks_the_models_that_it_is_for_and_sees_no_others(stack: Stack) -> None:
    model = stack.model(Answer(("Once",)))
    other = next(name for name in MODELS if name != model)
    program = await stack.program(await stack.newcomer(), models=[model.removesuffix(":latest"), "not:announced"])

    assert (await program.chat(model)).status_code == 200
    assert (await program.chat(model.removesuffix(":latest"))).status_code == 200
    assert await names_of(program) == [model]
    for wanted in (other, "nobody:has"):
        for path in ("/v1/chat", "/v1/chat/stream"):
            refused = await program.http.post(path, json=chat(wanted))
            assert (refused.status_code, refused.json()["error"]["code"]) == (403, "model_not_allowed")
            assert refused.json()["error"]["param"] == "model"
    assert stack.generations(other) == []
    unrestricted = await names_of(await stack.program(await stack.newcomer()))
    assert {*MODELS} <= {*unrestricted}  # other tests have others as well


async def test_it_is_seen_when_it_was_used(stack: Stack) -> None:
    owner = await stack.newcomer()
    program = await stack.program(owner)
    assert (await program.http.get("/v1/auth/me")).status_code == 200

    async def is_noted() -> bool:
        (key,) = (await owner.http.get("/v1/api-keys")).json()["data"]
        return key["last_used_at"] is not None

    await wait_until(is_noted, description="it is noted that the key was used")


@pytest.mark.parametrize("is_kept", [True, False], ids=["from Redis", "from PostgreSQL"])
async def test_a_key_that_is_for_less_than_all_gets_at_its_own_jobs_alone(stack: Stack, *, is_kept: bool) -> None:
    model = stack.model(Answer(("Once",)))
    owner = await stack.newcomer()
    chats_only = await stack.program(owner, scopes=["chat"])
    one_model = await stack.program(owner, models=[model], gateway=stack.gateways[1])
    anything = await stack.program(owner)
    clients = [owner, chats_only, one_model, anything]
    jobs = [await accept(client, model) for client in clients]
    for job_id in jobs:
        await until(owner, job_id, "completed")
    if not is_kept:
        await stack.empty_redis()

    async def reach(client: Client) -> list[str]:
        """Return the jobs that somebody gets at, by each of the ways that there are."""
        listed = [job["id"] for job in (await client.http.get("/v1/chat")).json()["data"]][::-1]
        for way in ("GET /v1/chat/{}", "GET /v1/chat/{}/stream", "DELETE /v1/chat/{}"):
            method, _, path = way.partition(" ")
            answers = [await client.http.request(method, path.format(job_id)) for job_id in jobs]
            assert [id_ for id_, answer in zip(jobs, answers, strict=True) if answer.status_code != 404] == listed, way
        return listed

    assert [await reach(client) for client in clients] == [jobs, [jobs[1]], [jobs[2]], jobs]


async def test_such_keys_have_idempotency_keys_of_their_own(stack: Stack) -> None:
    model = stack.model(Answer(("Once",)))
    owner = await stack.newcomer()
    clients = [
        owner,
        await stack.program(owner),
        await stack.program(owner, models=[model]),
        await stack.program(owner, scopes=["chat"]),
    ]
    same = {"Idempotency-Key": "nightly"}

    for _ in range(2):
        answers = [await client.chat(model, headers=same) for client in clients]
        assert {answer.status_code for answer in answers} == {200}
        made = [answer.headers["X-Job-Id"] for answer in answers]
        assert made[0] == made[1]
        assert len(set(made)) == 3
    assert len(stack.generations(model)) == 3


async def test_what_a_key_may_not_do_is_recorded_under_its_name(stack: Stack) -> None:
    program = await stack.program(await stack.newcomer(), scopes=["usage"])
    refused = await program.http.get("/v1/chat")
    assert refused.status_code == 403

    def recorded() -> dict[str, str] | None:
        lines = map(json.loads, stack.log_lines())
        mine = (line for line in lines if line.get("request_id") == refused.headers["X-Request-Id"])
        return next((line for line in mine if line["event"] == SecurityEvent.ACCESS_FORBIDDEN), None)

    line = await wait_until(recorded, description="the refusal is recorded")
    assert line is not None
    assert (line["credential"], line["code"]) == (f"key:{program.account.id}", "insufficient_scope")
    assert line["user_id"]
