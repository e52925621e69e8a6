"""The double can be told and asked by HTTP, as a process of its own."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator

import httpx
import msgspec
import pytest

from tests.ollama_double import Answer, Cut, Hang, Pause, Raw, Script, State

BODY = {"model": "faulty", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
def client(pytestconfig: pytest.Config) -> Iterator[httpx.Client]:
    command = [sys.executable, "-m", "tests.ollama_double"]
    with subprocess.Popen(command, cwd=pytestconfig.rootpath, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        with httpx.Client(base_url=process.stdout.readline().strip(), trust_env=False, timeout=30) as running:
            yield running
        process.terminate()
        assert process.wait(30) == 0


def test_a_script_goes_by_http(client: httpx.Client) -> None:
    steps = ("é", Pause(1), Raw(b"\xff"), Hang("gate"), Cut())
    script = Script("faulty", (Answer(steps, write_sizes=(1,)), Answer(("fine",))))
    assert client.put("/_double/script", content=msgspec.json.encode(script)).status_code == 204
    assert client.put("/_double/gates/gate").status_code == 204

    got = b""
    with client.stream("POST", "/api/chat", json=BODY) as response, contextlib.suppress(httpx.ReadError):
        for piece in response.iter_raw():
            got += piece
    assert msgspec.json.decode(got.split(b"\n")[0])["message"]["content"] == "é"
    assert got.endswith(b"\n\xff")
    fine = client.post("/api/chat", json=BODY | {"stream": False}).json()
    assert fine["message"]["content"] == "fine"

    state = msgspec.json.decode(client.get("/_double/state").content, type=State)
    assert [generation.outcome for generation in state.generations] == ["broken", "completed"]
    assert state.generations[0].request == BODY


def test_a_script_that_cannot_be_is_refused(client: httpx.Client) -> None:
    body = b'{"model": "m", "answers": [{"steps": [{"do": "dance"}]}]}'
    response = client.put("/_double/script", content=body)
    assert response.status_code == 400
    assert "dance" in response.json()["error"]
