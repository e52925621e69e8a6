"""What was said is found, shown page by page and exported, whichever gateway is asked."""

from tests.end_to_end.client import ask
from tests.end_to_end.stack import Stack
from tests.end_to_end.talking import begin, messages, say
from tests.ollama_double import Answer


async def test_by_the_words_of_either_side(stack: Stack) -> None:
    model = stack.model(Answer(("The answer speaks of quokkas.",)))
    ada, bob = await stack.newcomer(), await stack.newcomer(gateway=stack.gateways[1])
    for client in (ada, bob):
        for title, text in (("First", "A question about zebras."), ("Second", "Another one.")):
            await say(client, await begin(client, title=title), model, text)

    for client in (ada, bob):
        for words, titles in (("quokkas", ["Second", "First"]), ("zebras", ["First"]), ("gnus", [])):
            found = (await client.http.get("/v1/conversations", params={"q": words})).json()
            assert [each["title"] for each in found["data"]] == titles


async def test_page_by_page_and_all_at_once(stack: Stack) -> None:
    model = stack.model(Answer(("Once",)))
    client = await stack.newcomer()
    other = await stack.client(client.account.email.partition("@")[0], gateway=stack.gateways[1])
    conversation = await begin(client)
    await client.chat(
        model,
        messages=[*ask("One."), {"role": "assistant", "content": "Two."}, *ask("Three.")],
        conversation_id=conversation,
    )
    await say(other, conversation, model, "Four.")

    pages: list[list[str]] = []
    cursor: dict[str, str] = {}
    while True:
        page = (
            await other.http.get(f"/v1/conversations/{conversation}/messages", params={"limit": 4, **cursor})
        ).json()
        pages.append([message["content"] for message in page["data"]])
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert pages == [["One.", "Two.", "Three.", "Once"], ["Four.", "Once"]]

    exported = (await other.http.get(f"/v1/conversations/{conversation}/export")).json()
    assert exported["messages"] == await messages(client, conversation)
    assert exported["title"] == "One."


async def test_a_conversation_of_any_size_is_exported(stack: Stack) -> None:
    """More than one page of it, by number and by size."""
    model = stack.model(Answer(("Once",)))
    client = await stack.client()
    conversation = await begin(client)
    said = ["x" * 3_000_000, "y" * 3_000_000, *(f"Number {number}." for number in range(150))]
    await client.chat(model, messages=[message for text in said for message in ask(text)], conversation_id=conversation)
    exported = (await client.http.get(f"/v1/conversations/{conversation}/export")).json()
    assert [message["content"] for message in exported["messages"]] == [*said, "Once"]
