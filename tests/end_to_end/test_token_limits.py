"""A chat reserves tokens when it is let in, and pays for what it used when it has ended."""

import asyncio
from collections import Counter
from time import monotonic

import httpx
import pytest

from tests.end_to_end.client import Client, chat
from tests.end_to_end.stack import Stack
from tests.ollama_double import Answer, Cut, Hang
from tests.processes import ServerProcess

LIMIT = 6000
MOST = LIMIT * 2 // 3  # of which two do not fit at once, nor soon after each other
LONG = "a " * (LIMIT * 4)  # more tokens than the limit has
RESPOND_ASYNC = {"Prefer": "respond-async"}


@pytest.fixture
async def gateway(stack: Stack) -> ServerProcess:
    return await stack.gateway(
        rate_limit_enabled=True,
        rate_limit_requests_per_minute=10_000,
        rate_limit_address_requests_per_minute=100_000,
        rate_limit_tokens_per_minute=LIMIT,
    )


@pytest.fixture
async def client(stack: Stack, gateway: ServerProcess) -> Client:
    """A user who has spent nothing."""
    return await stack.newcomer(gateway=gateway)


async def test_what_is_left_is_told_with_its_unit(stack: Stack, client: Client) -> None:
    response = await client.chat(stack.model(Answer(("text",))), options={"num_predict": MOST})

    assert response.headers["RateLimit-Policy"] == (
        f'"user";q=10000;w=60, "address";q=100000;w=60, "user-tokens";q={LIMIT};w=60;qu="tokens"'
    )
    assert 0 < left(response) <= LIMIT - MOST


async def test_a_running_job_holds_its_reservation_and_one_that_has_ended_gives_back_what_it_did_not_use(
    stack: Stack, client: Client
) -> None:
    gate = stack.gate()
    model = stack.model(Answer(("one ", Hang(gate), "two")), Answer(("text",)))
    async with client.stream(model, options={"num_predict": MOST}) as stream:
        await stream.until("chunk")

        refused = await client.chat(model, options={"num_predict": MOST})
        stack.double.release(gate)
        await stream.rest()

    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limited")
    assert "tokens" in refused.json()["error"]["message"]
    assert refused.headers["RateLimit-Policy"].endswith(f'"user-tokens";q={LIMIT};w=60;qu="tokens"')
    assert 0 <= left(refused) < MOST
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert (await client.chat(model, options={"num_predict": MOST})).status_code == 200


@pytest.mark.parametrize("ending", ["cancelled", "failed"])
async def test_a_job_that_came_to_nothing_gives_its_reservation_back(stack: Stack, client: Client, ending: str) -> None:
    answer = Answer((Hang(),)) if ending == "cancelled" else Answer((Cut(),))
    model = stack.model(answer)
    async with client.stream(model, options={"num_predict": MOST}) as stream:
        if ending == "cancelled":
            await stream.until("started")
            await client.cancel(stream.job_id)
        await stream.rest()

    answered = await client.chat(stack.model(Answer(("text",))), options={"num_predict": MOST})

    assert answered.status_code == 200


async def test_a_durable_job_settles_as_well(stack: Stack, client: Client) -> None:
    model = stack.model(Answer(("text",)))
    accepted = await client.chat(model, headers=RESPOND_ASYNC, options={"num_predict": MOST})
    assert accepted.status_code == 202
    await stack.until_recorded(accepted.json()["id"])

    assert (await client.chat(model, options={"num_predict": MOST})).status_code == 200


async def test_a_request_that_could_never_pass_is_a_mistake_that_the_address_pays(stack: Stack, client: Client) -> None:
    model = stack.model(Answer(("text",)))

    too_much = await client.chat(model, options={"num_predict": LIMIT})
    too_long = await client.chat(model, messages=[{"role": "user", "content": "x" * (5 * LIMIT)}])

    for response, param in ((too_much, "options.num_predict"), (too_long, "messages")):
        assert (response.status_code, response.json()["error"]["code"]) == (422, "exceeds_token_limit")
        assert response.json()["error"]["param"] == param
        assert response.headers["RateLimit"].startswith('"address";')
    assert not stack.generations(model)


async def test_of_200_at_once_no_more_pass_than_there_are_tokens_for(stack: Stack, client: Client) -> None:
    """Each is accepted or refused at once; those that run keep what they reserved."""
    passes, gate = 4, stack.gate()
    model = stack.model(Answer((Hang(gate),)))
    body = chat(model, options={"num_predict": LIMIT // passes - 100})
    begun_s = monotonic()

    answers = await asyncio.gather(
        *(client.http.post("/v1/chat", json=body, headers=RESPOND_ASYNC) for _ in range(200))
    )

    came_back = LIMIT * (monotonic() - begun_s) / 60
    statuses = Counter(answer.status_code for answer in answers)
    assert set(statuses) == {202, 429}
    assert passes <= statuses[202] <= passes + came_back // (LIMIT // passes - 100)
    stack.double.release(gate)
    for answer in answers:
        if answer.status_code == 202:
            await stack.until_recorded(answer.json()["id"])


def left(response: httpx.Response) -> int:
    """Return how many tokens the user has left, as the answer says."""
    _, _, of_tokens = response.headers["RateLimit"].partition('"user-tokens";r=')
    return int(of_tokens.partition(";")[0])


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/openai/v1/chat/completions", {"messages": [{"role": "user", "content": LONG}]}, "messages"),
        (
            "/openai/v1/chat/completions",
            {"messages": [{"role": "user", "content": "a"}], "max_tokens": LIMIT},
            "max_tokens",
        ),
        (
            "/openai/v1/chat/completions",
            {"messages": [{"role": "user", "content": "a"}], "max_completion_tokens": LIMIT},
            "max_completion_tokens",
        ),
        ("/openai/v1/completions", {"prompt": LONG}, "prompt"),
        ("/openai/v1/completions", {"prompt": "a", "max_tokens": LIMIT}, "max_tokens"),
        ("/openai/v1/embeddings", {"input": LONG}, "input"),
        ("/ollama/api/generate", {"prompt": LONG}, "prompt"),
        ("/ollama/api/generate", {"prompt": "a", "options": {"num_predict": LIMIT}}, "options.num_predict"),
        ("/ollama/api/embed", {"input": LONG}, "input"),
        ("/ollama/api/embeddings", {"prompt": LONG}, "prompt"),
    ],
)
async def test_what_is_too_much_is_called_as_the_client_calls_it(
    stack: Stack, client: Client, path: str, body: dict[str, object], param: str
) -> None:
    response = await client.http.post(path, json={"model": stack.model(Answer(("text",))), **body})

    error = response.json()["error"]
    assert response.status_code == 400
    assert error.startswith(f"{param}: ") if isinstance(error, str) else error["param"] == param
