"""A client that does not take its answer costs bounded memory and disturbs nobody."""

import asyncio
import socket
from urllib.parse import urlsplit

import msgspec

from tests.end_to_end.client import Client, chat
from tests.end_to_end.stack import Stack
from tests.ollama_double import Answer, Hang

PIECE = "x" * 65_536


async def test_one_who_takes_nothing_is_cut_off_and_the_job_ends(stack: Stack) -> None:
    gateway = await stack.gateway(server_write_timeout_secs=1)
    model = stack.model(Answer((*[PIECE] * 50, Hang())))

    with await ask_and_take_nothing(await stack.client(gateway=gateway), gateway.url, model):
        await stack.until_double(model, "aborted")


async def test_one_who_takes_nothing_disturbs_no_other(stack: Stack) -> None:
    gate = stack.gate()
    greedy, model = stack.model(Answer((*[PIECE] * 50, Hang(gate)))), stack.model(Answer(("a", "b")))
    client = await stack.client()

    with await ask_and_take_nothing(client, stack.gateways[0].url, greedy):
        await stack.double.until(
            lambda _: [seen.tokens_sent for seen in stack.generations(greedy)] == [50], "it is out"
        )
        async with client.stream(model) as stream:
            await stream.rest()
    stack.double.release(gate)

    assert stream.text == "ab"


async def test_a_slow_one_gets_every_byte(stack: Stack) -> None:
    """What does not fit into the buffers on the way is read from the log."""
    pieces = tuple(f"{number:08d}" + "y" * 20_000 for number in range(150))
    model = stack.model(Answer(pieces))

    async with (await stack.client()).stream(model) as stream:
        await stream.until("started")
        await stack.until_double(model, "completed")
        await stream.rest()

    assert stream.text == "".join(pieces)


async def ask_and_take_nothing(client: Client, url: str, model: str) -> socket.socket:
    """Ask for a stream on a connection from which nothing is ever read."""
    address = urlsplit(url)
    body = msgspec.json.encode(chat(model))
    head = (
        f"POST /v1/chat/stream HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {client.account.token}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(connection, (address.hostname, address.port))
    await loop.sock_sendall(connection, head.encode() + body)
    return connection
