"""`./dev up` as whoever has just cloned the repository meets it."""

import asyncio
import contextlib
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import httpx
import psutil
import pytest

from infra.local.ports import free_port, listen_fault
from tests.environment import CHECKOUT
from tests.processes import ProcessStarter, ServerProcess
from tests.waiting import wait_until

NOBODY_LISTENS = "http://127.0.0.1:9"  # the discard port


def settings(state: Path, **values: str) -> dict[str, str]:
    return {"STATE_DIR": str(state), "OLLAMA_BASE_URL": NOBODY_LISTENS, **values}


async def bring_up(start: ProcessStarter, state: Path, *options: str, **values: str) -> ServerProcess:
    stack = await start("infra.local", settings(state, **values), "up", *options)
    await wait_until(lambda: "Stop with Ctrl-C." in stack.log_text(), description="the stack is ready", timeout_s=60)
    return stack


def members(stack: ServerProcess) -> dict[int, str]:
    """Return the command line of every process under the supervisor, PostgreSQL's own children included."""
    found: dict[int, str] = {}
    for child in psutil.Process(stack.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # initdb's children come and go
            found[child.pid] = shlex.join(child.cmdline())
    return found


def still_running(pids: Mapping[int, str]) -> dict[int, str]:
    return {pid: words for pid, words in pids.items() if psutil.pid_exists(pid)}


async def printed_by(command: str) -> str:
    process = await asyncio.create_subprocess_shell(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    output, _ = await process.communicate()
    return output.decode()


@pytest.fixture(scope="module")
def state(server_directory: Path) -> Path:
    return server_directory / "stack"


@pytest.fixture(scope="module")
async def stack(state: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """Two gateways and two workers."""
    port = free_port_pair()
    async with ProcessStarter(tmp_path_factory.mktemp("up")) as start:
        yield await bring_up(start, state, "--gateways", "2", APP_PORT=str(port), UP_WORKERS="2")


def free_port_pair() -> int:
    while listen_fault("127.0.0.1", (port := free_port()) + 1):
        pass
    return port


def curl_printed_by(stack: ServerProcess) -> str:
    (line,) = (line for line in stack.log_lines() if line.startswith("curl "))
    return line


async def test_the_printed_curl_streams_an_answer_at_once(stack: ServerProcess) -> None:
    events = await printed_by(curl_printed_by(stack))
    (*_, last) = (json.loads(line.removeprefix("data: ")) for line in events.splitlines() if line.startswith("data: "))
    assert (last["model"], last["done"]) == ("demo:latest", True)


async def test_the_words_of_the_readme_do_what_it_says(stack: ServerProcess) -> None:
    """The block under "Use it", pasted into a shell."""
    _, _, use_it = (CHECKOUT / "README.md").read_text().partition("## Use it\n")
    commands = use_it.partition("```sh\n")[2].partition("```")[0].replace("http://127.0.0.1:8000", stack.url)
    printed = await printed_by(commands)
    assert '"email":"me@example.org"' in printed
    assert '"model":"demo:latest"' in printed
    assert printed.count('"done":true') == 1


async def test_the_conversation_of_the_readme_is_remembered_found_and_deleted(stack: ServerProcess) -> None:
    blocks = re.findall(r"```sh\n(.*?)```", (CHECKOUT / "README.md").read_text(), re.DOTALL)
    (use_it,) = (block for block in blocks if "/v1/auth/signup" in block)
    (talk,) = (block for block in blocks if "conversation=" in block)
    printed = await printed_by((use_it + talk).replace("http://127.0.0.1:8000", stack.url))
    assert printed.count('"done":true') == 3
    assert printed.count('"content":"My cat is called Ada."') == 1
    assert printed.count('"title":"My cat is called Ada."') == 1
    listed = await printed_by(
        (use_it + 'curl -s $base/v1/conversations -H "Authorization: Bearer $token"').replace(
            "http://127.0.0.1:8000", stack.url
        )
    )
    assert '{"data":[],"next_cursor":null}' in listed


async def test_the_printed_address_of_all_calls_answers(stack: ServerProcess) -> None:
    _, _, after = stack.log_text().partition("(all calls: ")
    async with httpx.AsyncClient() as client:
        assert (await client.get(after.partition(")")[0])).json()["openapi"].startswith("3.1")


async def test_the_demo_model_is_called_demo(stack: ServerProcess) -> None:
    assert f"demo model, because no Ollama answers at {NOBODY_LISTENS}" in stack.log_text()


async def test_every_gateway_is_printed_and_sees_every_worker(stack: ServerProcess) -> None:
    for address in (stack.url, f"http://127.0.0.1:{stack.port + 1}"):
        assert address in stack.log_text()
        async with httpx.AsyncClient(base_url=address) as client:
            readiness = (await client.get("/health/ready")).json()
            assert (readiness["status"], readiness["live_workers"]) == ("ok", 2)


async def test_a_fresh_token_is_accepted(stack: ServerProcess, state: Path) -> None:
    token = run_local("token", settings(state)).stdout.strip()
    async with httpx.AsyncClient(base_url=stack.url, headers={"Authorization": f"Bearer {token}"}) as client:
        assert (await client.get("/v1/auth/me")).status_code == 200


async def test_the_first_admin_is_made_beside_it(stack: ServerProcess, state: Path) -> None:
    credentials = {"email": "operator@example.org", "password": "a quiet harbour at dawn"}
    words = ("create", credentials["email"], "--admin")
    made = run_local("users", settings(state), *words, stdin=credentials["password"])
    assert (made.returncode, made.stdout.endswith("is made, as admin.\n")) == (0, True), made.stderr
    async with httpx.AsyncClient(base_url=stack.url) as client:
        token = (await client.post("/v1/auth/login", json=credentials)).json()["access_token"]
        me = await client.get("/v1/auth/me", headers={"Authorization": f"Bearer {token}"})
    assert me.json()["role"] == "admin"


async def test_a_second_stack_in_the_same_state_directory_is_refused_in_one_line(
    stack: ServerProcess, state: Path
) -> None:
    result = run_local("up", settings(state, APP_PORT=str(free_port())))
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert f"in use by process {stack.pid}" in result.stderr


async def test_a_worker_that_is_killed_comes_back(stack: ServerProcess) -> None:
    (pid, *_) = (pid for pid, words in members(stack).items() if words.endswith("-m worker"))
    os.kill(pid, signal.SIGKILL)
    await wait_until(lambda: " is back" in stack.log_text(), description="the worker is back", timeout_s=60)
    assert "was ended by SIGKILL" in stack.log_text()


async def test_a_kill_leaves_nobody_and_loses_nothing(start_process: ProcessStarter, server_directory: Path) -> None:
    """The account of the first run is in PostgreSQL, and its password in the state directory."""
    state = server_directory / "killed"
    for end, code in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 0)):
        stack = await bring_up(start_process, state)
        assert (await printed_by(curl_printed_by(stack))).count('"done":true') == 1
        started = members(stack)
        assert any("postgres: " in words for words in started.values())
        stack.send(end)
        assert await stack.wait() == code
        await wait_until(lambda pids=started: not still_running(pids), description="nobody is left")


@pytest.mark.usefixtures("a_terminal_that_can_close")
@pytest.mark.parametrize("reached", ["starting PostgreSQL", "starting migrations"])
async def test_a_terminal_that_closes_in_the_middle_of_the_start_leaves_nobody(
    start_process: ProcessStarter, server_directory: Path, tmp_path: Path, reached: str
) -> None:
    stack = await start_process("infra.local", settings(server_directory / tmp_path.name), "up", health=None)
    await wait_until(lambda: reached in stack.log_text(), description=reached)
    started = members(stack)
    stack.send(signal.SIGHUP)
    assert await stack.wait() == 0
    await wait_until(lambda: not still_running(started), description="nobody is left")


def run_local(
    command: str, environment: Mapping[str, str], *options: str, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a command that is expected to end by itself."""
    return subprocess.run(
        [sys.executable, "-m", "infra.local", command, *options],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(CHECKOUT), **environment},
        cwd="/",
        check=False,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def a_terminal_that_can_close() -> Iterator[None]:
    """Give SIGHUP its meaning back, which whoever runs these tests under `nohup` took from all that we start."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def taken_port() -> Iterator[int]:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield server.getsockname()[1]


def test_a_taken_port_is_told_before_anything_starts(tmp_path: Path, taken_port: int) -> None:
    result = run_local("up", settings(tmp_path / "state", APP_PORT=str(taken_port)))
    assert result.returncode == 2
    assert result.stderr.startswith(
        f"dev: APP_PORT={taken_port}: cannot listen on {taken_port}, address already in use."
    )
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ({"APP_PORT": "eight"}, "APP_PORT is wrong: expected a whole number from 1 to 65535. Example: APP_PORT=8000"),
        ({"UP_WORKERS": "0"}, "UP_WORKERS is wrong: expected a whole number from 1 to 64. Example: UP_WORKERS=3"),
        ({"APP_PORT": "65535", "UP_GATEWAYS": "2"}, "APP_PORT=65535: cannot listen on 65536, beyond the last port."),
        ({"DATABASE_URL": "mysql://x"}, "DATABASE_URL is wrong: expected a URL that begins with postgresql://."),
        ({"DATABASE_URL": "postgresql://x@127.0.0.1:9/x"}, "DATABASE_URL names no PostgreSQL that lets us in: "),
        ({"REDIS_URL": "redis://127.0.0.1:9/0"}, "REDIS_URL names no Redis that lets us in: "),
        ({"APP_ENV": "production"}, "OLLAMA_BASE_URL names no Ollama: "),
        ({"OLLAMA_BASE_URL": "http://127.0.0.1:abc"}, "OLLAMA_BASE_URL is wrong: its port is no whole number from 1"),
        ({"REDIS_URL": "redis://127.0.0.1/abc"}, "REDIS_URL is wrong: expected the number of a database"),
        ({"APP_HOST": "nonsense.invalid"}, "APP_HOST=nonsense.invalid: cannot listen there, "),
        ({"APP_HOST": "999.1.1.1"}, "APP_HOST=999.1.1.1: cannot listen there, "),
        ({"STATE_DIR": "/proc/foo"}, "STATE_DIR /proc/foo can be no directory of ours: "),
        ({"STATE_DIR": "/etc/passwd"}, "STATE_DIR /etc/passwd can be no directory of ours: "),
        ({"STATE_DIR": "/dev/null/x"}, "STATE_DIR /dev/null/x can be no directory of ours: "),
        ({"STATE_DIR": '/srv/a"b'}, "STATE_DIR is wrong: its path has a quote"),
    ],
    ids=lambda value: " ".join(f"{name}={text}" for name, text in value.items()) if isinstance(value, dict) else "",
)
def test_a_wrong_setting_is_told_in_one_line_and_leaves_nothing(
    server_directory: Path, tmp_path: Path, setting: dict[str, str], complaint: str
) -> None:
    state = server_directory / tmp_path.name
    result = run_local("up", {**settings(state), "APP_PORT": str(free_port()), **setting})
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert result.stderr.startswith(f"dev: {complaint}")
    assert f"Example: {next(iter(setting))}=" in result.stderr or setting.keys() == {"APP_ENV"}


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ({"LOG_LEVEL": "info"}, "LOG_LEVEL is wrong: expected one of DEBUG, INFO, WARNING, ERROR. Example: LOG_LEVEL="),
        ({"MIGRATE_ON_START": "maybe"}, "MIGRATE_ON_START is wrong: expected true or false. Example: "),
        ({"JWT_SECRET": "weak"}, "JWT_SECRET has 4 bytes"),
        ({"WORKER_SLOTS": "many"}, "WORKER_SLOTS is wrong: expected a whole number from 1 to 10000. Example: "),
        ({"PROMETHEUS_BIND": "127.0.0.1:9", "UP_GATEWAYS": "2"}, "PROMETHEUS_BIND=127.0.0.1:9: 2 gateways cannot"),
    ],
    ids=lambda value: " ".join(f"{name}={text}" for name, text in value.items()) if isinstance(value, dict) else "",
)
def test_what_a_role_would_refuse_is_told_before_anything_starts(
    tmp_path: Path, setting: dict[str, str], complaint: str
) -> None:
    result = run_local("up", settings(tmp_path / "state", **({"APP_PORT": str(free_port_pair())} | setting)))
    assert (result.returncode, result.stderr.count("\n"), result.stdout) == (2, 1, "")
    assert result.stderr.startswith(f"dev: {complaint}")
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("option", ["--gateway", "--gateways=x", "now"])
def test_a_wrong_option_is_told_in_one_line(tmp_path: Path, option: str) -> None:
    result = run_local("up", settings(tmp_path), option)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert "Example: " in result.stderr


@pytest.mark.parametrize("command", [["token"], ["users", "list"]], ids=" ".join)
def test_without_a_stack_there_is_nothing_to_ask(tmp_path: Path, command: list[str]) -> None:
    result = run_local(command[0], settings(tmp_path), *command[1:])
    assert (result.returncode, result.stderr) == (1, f"dev: no stack runs in STATE_DIR {tmp_path}. Example: ./dev up\n")
