"""What is said in a conversation stays, and is what the model is told the next time."""

import asyncio
from typing import Any

import httpx

from tests.end_to_end.client import Client, ask
from tests.end_to_end.stack import Stack
from tests.end_to_end.talking import begin, messages, say, show, told, until_answered
from tests.images import in_base64, png
from tests.ollama_double import Answer, Fail, Hang, Thinking, ToolCalls

IMAGE = in_base64(png())
TOOLS = [{"type": "function", "function": {"name": "look_up"}}]
ASYNC = {"Prefer": "respond-async"}
CALL = {"function": {"name": "look_up", "arguments": {"what": "sky", "much": 12345678901234567890}}}


def code_of(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


class TestWhatWasSaid:
    async def test_precedes_what_is_said_next(self, stack: Stack) -> None:
        model = stack.model(Answer(("Once", " upon")), Answer((" a", " time")))
        client = await stack.client()
        conversation = await begin(client)

        await say(client, conversation, model, "Begin.")
        async with client.stream(model, messages=ask("Go on."), conversation_id=conversation) as stream:
            await stream.rest()

        assert [event.type for event in stream.events] == ["queued", "started", "chunk", "chunk", "chunk"]
        assert stack.generations(model)[1].request["messages"] == [
            {"role": "user", "content": "Begin."},
            {"role": "assistant", "content": "Once upon"},
            {"role": "user", "content": "Go on."},
        ]
        assert await told(client, conversation) == [
            ("user", "Begin.", "complete"),
            ("assistant", "Once upon", "complete"),
            ("user", "Go on.", "complete"),
            ("assistant", " a time", "complete"),
        ]
        last = (await messages(client, conversation))[-1]
        assert (last["job_id"], last["model"], last["error_code"]) == (stream.job_id, model, None)

    async def test_is_told_with_images_and_tools_but_without_thoughts(self, stack: Stack) -> None:
        model = stack.model(Answer((Thinking("Hm."), ToolCalls([CALL]))), Answer(("Blue",)))
        client = await stack.client()
        conversation = await begin(client)
        asked = [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "What is this?", "images": [IMAGE]},
        ]
        found = [{"role": "tool", "content": "It is blue.", "tool_name": "look_up"}]

        await client.chat(model, messages=asked, conversation_id=conversation, tools=TOOLS)
        await client.chat(model, messages=found, conversation_id=conversation)

        reply = {"role": "assistant", "content": "", "tool_calls": [CALL]}
        assert stack.generations(model)[1].request["messages"] == [*asked, reply, *found]
        said = await messages(client, conversation)
        assert [each["thinking"] for each in said] == [None, None, "Hm.", None, None]
        assert [each["tool_calls"] for each in said] == [None, None, [CALL], None, None]
        assert said[1]["images"] == [IMAGE]
        assert said[3]["tool_name"] == "look_up"

    async def test_is_there_when_the_end_is_told(self, stack: Stack) -> None:
        model = stack.model(Answer(("Once",)))
        client = await stack.client()
        for _ in range(5):
            conversation = await begin(client)
            async with client.stream(model, messages=ask("Begin."), conversation_id=conversation) as stream:
                await stream.rest()
                assert (await told(client, conversation))[-1] == ("assistant", "Once", "complete")
                assert (await show(client, conversation))["job_id"] is None

    async def test_gives_the_conversation_a_title_unless_it_has_one(self, stack: Stack) -> None:
        model = stack.model(Answer(("Once",)))
        client = await stack.client()
        named, unnamed = await begin(client, title="Sagas"), await begin(client)
        assert (await show(client, unnamed))["title"] is None
        for conversation in (named, unnamed):
            for text in ("Tell me\n a saga.", "Another."):
                await say(client, conversation, model, text)
        titles = [(await show(client, conversation))["title"] for conversation in (named, unnamed)]
        assert titles == ["Sagas", "Tell me a saga."]

    async def test_survives_whatever_the_model_writes(self, stack: Stack) -> None:
        model = stack.model(
            Answer(("nul \0 ", "\u2028 <script>alert(1)</script>", ToolCalls([{"function": {"a": "\0"}}])))
        )
        client = await stack.client()
        conversation = await begin(client)
        await say(client, conversation, model, "Break it.")
        _, reply = await messages(client, conversation)
        assert reply["content"] == "nul \N{REPLACEMENT CHARACTER} \u2028 <script>alert(1)</script>"
        assert reply["tool_calls"] == [{"function": {"a": "\0"}}]


class TestAReply:
    async def test_is_stored_when_the_client_has_gone(self, stack: Stack) -> None:
        gate = stack.gate()
        model = stack.model(Answer(("Once", Hang(gate), " upon")))
        client = await stack.client()
        conversations = [await begin(client) for _ in range(2)]
        async with client.stream(model, messages=ask("Begin."), conversation_id=conversations[0]) as stream:
            await stream.until("chunk")
        waiting = asyncio.create_task(say(client, conversations[1], model, "Begin."))
        await stack.until_double(model, "active", "active")
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await stack.until_left(stream.job_id, readers=0)
        stack.double.release(gate)

        for conversation in conversations:
            await until_answered(client, conversation)
            assert await told(client, conversation) == [
                ("user", "Begin.", "complete"),
                ("assistant", "Once upon", "complete"),
            ]

    async def test_that_is_cancelled_is_stored_as_far_as_it_came(self, stack: Stack) -> None:
        model = stack.model(Answer(("Once", Hang())), Answer((" upon",)))
        client = await stack.client()
        conversation = await begin(client)
        async with client.stream(model, messages=ask("Begin."), conversation_id=conversation) as stream:
            await stream.until("chunk")
            assert (await show(client, conversation))["job_id"] == stream.job_id
            await client.cancel(stream.job_id)
            await stream.rest()
        assert stream.events[-1].json["error"]["code"] == "cancelled"
        assert (await told(client, conversation))[-1] == ("assistant", "Once", "cancelled")

        await say(client, conversation, model, "Go on.")
        assert stack.generations(model)[1].request["messages"][1] == {"role": "assistant", "content": "Once"}

    async def test_that_fails_is_stored_and_says_why(self, stack: Stack) -> None:
        model = stack.model(Answer((Fail("no such tool", status=400),)), Answer(("Once",)))
        client = await stack.client()
        conversation = await begin(client)
        assert code_of(await say(client, conversation, model, "Begin.")) == (422, "upstream_rejected")
        _, reply = await messages(client, conversation)
        assert (reply["content"], reply["status"], reply["error_code"]) == ("", "failed", "upstream_rejected")

        await say(client, conversation, model, "Try again.")
        assert [each["content"] for each in stack.generations(model)[1].request["messages"]] == ["Begin.", "Try again."]

    async def test_to_a_202_is_stored_too(self, stack: Stack) -> None:
        model = stack.model(Answer(("Once",)))
        client = await stack.client()
        conversation = await begin(client)
        accepted = await say(client, conversation, model, "Begin.", headers=ASYNC)
        assert accepted.status_code == 202
        await until_answered(client, conversation)
        _, reply = await messages(client, conversation)
        assert (reply["content"], reply["job_id"]) == ("Once", accepted.json()["id"])


class TestTwoAtOnce:
    async def test_one_is_answered_and_the_others_are_refused(self, stack: Stack) -> None:
        """Whichever gateway they reach; the refused have left nothing, and spent nothing."""
        gate = stack.gate()
        model = stack.model(Answer((Hang(gate), "Once")))
        clients = [await stack.client(gateway=gateway) for gateway in stack.gateways]
        conversation = await begin(clients[0])
        sends = [
            asyncio.create_task(say(client, conversation, model, f"Number {number}.", headers=ASYNC))
            for number, client in enumerate(clients * 10)
        ]
        responses = await asyncio.gather(*sends)
        stack.double.release(gate)

        accepted = [response for response in responses if response.status_code == 202]
        assert len(accepted) == 1
        refused = [response for response in responses if response not in accepted]
        assert {code_of(response) for response in refused} == {(409, "conversation_busy")}
        await until_answered(clients[0], conversation)
        said = await messages(clients[1], conversation)
        assert [(each["role"], each["job_id"]) for each in said] == [
            ("user", None),
            ("assistant", accepted[0].json()["id"]),
        ]
        assert (await say(clients[1], conversation, model, "Next.")).status_code == 200

    async def test_with_one_key_are_one(self, stack: Stack) -> None:
        gate = stack.gate()
        model = stack.model(Answer((Hang(gate), "Once")))
        clients = [await stack.client(gateway=gateway) for gateway in stack.gateways]
        conversation = await begin(clients[0])
        headers = {"Idempotency-Key": conversation}

        async def send(client: Client) -> Any:  # noqa: ANN401
            return await say(client, conversation, model, "Begin.", headers=headers)

        sends = [asyncio.create_task(send(client)) for client in clients * 3]
        await stack.until_double(model, "active")
        sends.append(asyncio.create_task(send(clients[1])))
        stack.double.release(gate)
        responses = [*await asyncio.gather(*sends), await send(clients[0])]

        assert {response.status_code for response in responses} == {200}
        assert len({response.headers["X-Job-Id"] for response in responses}) == 1
        assert [response.headers.get("Idempotent-Replayed") for response in responses].count(None) == 1
        assert await told(clients[0], conversation) == [
            ("user", "Begin.", "complete"),
            ("assistant", "Once", "complete"),
        ]


class TestALongConversation:
    async def test_is_full_when_a_chat_could_not_bring_more(self, stack: Stack) -> None:
        gateway = await stack.gateway(max_chat_request_size_bytes=2048)
        model = stack.model(Answer(("x" * 1500,)), Answer(("Once",)))
        client = await stack.client(gateway=gateway)
        conversation = await begin(client)
        key = {"Idempotency-Key": conversation}
        first = await say(client, conversation, model, "Begin.", headers=key)

        assert code_of(await say(client, conversation, model, "y" * 600)) == (422, "conversation_full")

        again = await say(client, conversation, model, "Begin.", headers=key)
        assert again.json() == first.json()
        assert (await say(client, conversation, model, "Short.")).status_code == 200
        assert len(await told(client, conversation)) == 4
