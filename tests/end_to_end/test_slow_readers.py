"""A client that does not take its answer costs bounded memory and disturbs nobody."""

import asyncio
import socket
from urllib.parse import urlsplit

import msgspec
import pytest

from tests.end_to_end.client import PROMPT, Client
from tests.end_to_end.stack import Stack
from tests.ollama_double import Answer, Hang
from tests.surfaces import COMPATIBLE, NATIVE, Surface

PIECE = "x" * 65_536

every_surface = pytest.mark.parametrize("surface", [NATIVE, *COMPATIBLE], ids=str)


@every_surface
async def test_one_who_takes_nothing_is_cut_off_and_the_job_ends(stack: Stack, surface: Surface) -> None:
    gateway = await stack.gateway(server_write_timeout_secs=1)
    model = stack.model(Answer((*[PIECE] * 50, Hang())))

    with await ask_and_take_nothing(await stack.client(gateway=gateway), gateway.url, surface, model):
        await stack.until_double(model, "aborted")


@every_surface
async def test_one_who_takes_nothing_disturbs_no_other(stack: Stack, surface: Surface) -> None:
    gate = stack.gate()
    greedy, model = stack.model(Answer((*[PIECE] * 50, Hang(gate)))), stack.model(Answer(("a", "b")))
    client = await stack.client()

    with await ask_and_take_nothing(client, stack.gateways[0].url, surface, greedy):
        await stack.double.until(
            lambda _: [seen.tokens_sent for seen in stack.generations(greedy)] == [50], "it is out"
        )
        async with client.stream(model) as stream:
            await stream.rest()
    stack.double.release(gate)

    assert stream.text == "ab"


@every_surface
async def test_a_slow_one_gets_every_byte(stack: Stack, surface: Surface) -> None:
    """What does not fit into the buffers on the way is read from the log."""
    pieces = tuple(f"{number:08d}" + "y" * 20_000 for number in range(150))
    model = stack.model(Answer(pieces))

    async with (await stack.client()).ask(surface, model) as answer:
        assert await answer.read()
        await stack.until_double(model, "completed")
        await answer.rest()

    assert answer.text == "".join(pieces)


async def ask_and_take_nothing(client: Client, url: str, surface: Surface, model: str) -> socket.socket:
    """Ask for a stream on a connection from which nothing is ever read."""
    address = urlsplit(url)
    body = msgspec.json.encode(surface.body(model, PROMPT))
    head = (
        f"POST {surface.path} HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {client.account.token}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(connection, (address.hostname, address.port))
    await loop.sock_sendall(connection, head.encode() + body)
    return connection
