"""What operators do from a shell holds at every gateway, for sessions, keys and open streams alike."""

import json

from tests.end_to_end.client import CANARY, Client
from tests.end_to_end.stack import Stack
from tests.ollama_double import Answer, Hang
from tests.waiting import wait_until

PASSWORD = f"{CANARY} of an operator's choice"


def at_both(stack: Stack, client: Client) -> list[Client]:
    """The same credential at every gateway."""
    token, id_ = client.account.token, client.account.id
    return [stack.holder_of(client, token, key_id=id_, gateway=gateway) for gateway in stack.gateways]


async def until_answered(clients: list[Client], status: int) -> None:
    """Wait until each gateway answers like this."""

    async def answered() -> list[int]:
        answers = [(await client.http.get("/v1/chat")).status_code for client in clients]
        return answers if set(answers) == {status} else []

    await wait_until(answered, description=f"every gateway answers {status}")


async def test_who_is_disabled_is_out_at_every_gateway_and_comes_back(stack: Stack) -> None:
    ada = await stack.newcomer()
    program = await stack.program(ada)
    clients = [*at_both(stack, ada), *at_both(stack, program)]
    await until_answered(clients, 200)  # whom every gateway believes for a while
    gate = stack.gate()
    async with ada.stream(stack.model(Answer(("text", Hang(gate))))) as stream:
        await stream.until("chunk")
        assert (await stack.operate("users", "disable", ada.account.email)).exit_code == 0
        await until_answered(clients, 401)
        await stream.rest()
    assert stream.events[-1].type == "chunk"
    stack.double.release(gate)

    assert (await stack.operate("users", "enable", ada.account.email.upper())).exit_code == 0
    await until_answered(clients, 200)


async def test_a_new_password_ends_all_sessions_and_no_key(stack: Stack) -> None:
    ada = await stack.newcomer()
    program = await stack.program(ada)
    sessions, keys = at_both(stack, ada), at_both(stack, program)
    await until_answered([*sessions, *keys], 200)
    changed = await stack.operate("users", "set-password", ada.account.id, stdin=PASSWORD)
    assert changed.stdout.endswith("has a new password, and no session any more.\n")
    await until_answered(sessions, 401)
    await until_answered(keys, 200)
    for password, status in ((ada.account.password, 401), (PASSWORD, 200)):
        credentials = {"email": ada.account.email, "password": password}
        assert (await ada.http.post("/v1/auth/login", json=credentials)).status_code == status


async def test_a_key_is_made_shown_once_and_revoked_everywhere(stack: Stack) -> None:
    ada = await stack.newcomer()
    words = ("--scope", "chat", "--model", "ada:latest", "--expires-at", "2999-01-01T00:00:00Z", "--json")
    made = json.loads((await stack.operate("keys", "create", ada.account.email, "ci", *words)).stdout)
    assert (made["scopes"], made["models"], made["expires_at"]) == (["chat"], ["ada:latest"], "2999-01-01T00:00:00Z")
    program = stack.holder_of(ada, made["key"], key_id=made["id"])
    clients = at_both(stack, program)
    await until_answered(clients, 200)

    listed = await stack.operate("keys", "list", ada.account.id)
    assert made["id"] in listed.stdout
    assert made["key"] not in listed.stdout
    assert json.loads((await stack.operate("keys", "list", ada.account.id, "--json")).stdout)[0]["name"] == "ci"

    other = await stack.client("bell")
    assert (await stack.operate("keys", "revoke", other.account.email, made["id"])).exit_code == 1
    assert (await stack.operate("keys", "revoke", ada.account.email, made["id"])).exit_code == 0
    await until_answered(clients, 401)


async def test_who_is_deleted_is_gone(stack: Stack) -> None:
    ada = await stack.newcomer()
    clients = at_both(stack, ada)
    await until_answered(clients, 200)
    assert (await stack.operate("users", "delete", ada.account.email, "--yes")).exit_code == 0
    await until_answered(clients, 401)
    assert (await stack.operate("users", "enable", ada.account.email)).exit_code == 1
