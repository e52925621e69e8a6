"""Who does not stream gets the chunks of the stream as one array."""

from tests.end_to_end.stack import Stack
from tests.ollama_double import Answer, Done, Hang, Raw


async def test_a_whole_answer(stack: Stack) -> None:
    model = stack.model(Answer(("one", "two", Done("length"))))

    response = await (await stack.client()).chat(model)

    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/json"
    *pieces, last = response.json()
    assert pieces == [{"model": model, "content": text, "done": False} for text in ("one", "two")]
    assert last.keys() == {"model", "content", "done", "done_reason", "usage", "timings", "job_id"}
    assert (last["done"], last["done_reason"]) == (True, "length")
    assert last["usage"] == {"prompt_tokens": 5, "completion_tokens": 2}
    assert last["job_id"] == response.headers["X-Job-Id"]


async def test_an_answer_without_a_word(stack: Stack) -> None:
    model = stack.model(Answer(()))

    response = await (await stack.client()).chat(model)

    (last,) = response.json()
    assert (last["content"], last["done"], last["usage"]["completion_tokens"]) == ("", True, 0)


async def test_the_model_is_asked_once(stack: Stack) -> None:
    model = stack.model(Answer((Hang(gate := stack.gate()), "text")))
    client = await stack.client()

    async with client.stream(model) as stream:
        await stream.until("started")
        stack.double.release(gate)
        await stream.rest()
    await client.chat(model)

    await stack.until_double(model, "completed", "completed")


async def test_counts_that_cannot_be_spoil_neither_answer_nor_accounts(stack: Stack) -> None:
    nonsense = Raw(
        b'{"message":{"content":"text"},"done":true,"prompt_eval_count":-5,"eval_count":10000000000000000000}\n'
    )
    model = stack.model(Answer((nonsense,)))

    response = await (await stack.client()).chat(model)

    assert response.status_code == 200
    assert response.json()[-1]["usage"] == {"prompt_tokens": 0, "completion_tokens": 2**31 - 1}
    await stack.until_recorded(response.headers["X-Job-Id"])
