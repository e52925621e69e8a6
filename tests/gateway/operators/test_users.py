"""`deepersensor users`, as a process of its own beside PostgreSQL and Valkey."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import pytest

from shared.database import users
from shared.database.engine import Database
from shared.database.users import Role
from shared.ids import new_id
from tests.commands import Finished, run_module
from tests.environment import CHECKOUT
from tests.http_server import nobody_listening

PASSWORD = "a quiet harbour at dawn"
ENDS = "Example: deepersensor users create ada@example.org --admin"

Command = Callable[..., Awaitable[Finished]]


@pytest.fixture
def environment(database: Database, database_url: str, redis_url: str) -> Mapping[str, str]:
    """The settings of a gateway; the database has its schema."""
    del database
    return {"DATABASE_URL": database_url, "REDIS_URL": redis_url}


@pytest.fixture
def command(environment: Mapping[str, str], tmp_path: Path) -> Command:
    """Run `deepersensor users` with these words and this standard input."""

    async def run(*words: str, stdin: str = "", **settings: str) -> Finished:
        return await run_module(
            "gateway.operators", {**environment, **settings}, "users", *words, directory=tmp_path, stdin=stdin
        )

    return run


async def test_the_first_admin_is_made_on_an_empty_database(command: Command, database: Database) -> None:
    made = await command("create", "Ada@Example.org", "--admin", stdin=f"{PASSWORD}\n", SIGNUP_MODE="closed")
    assert made.exit_code == 0
    assert made.stdout.startswith("ada@example.org (")
    assert made.stdout.endswith(") is made, as admin.\n")
    async with database.transaction() as connection:
        ada = await users.find_by_email(connection, "ada@example.org")
    assert ada is not None
    assert (ada.role, ada.disabled_at) == (Role.ADMIN, None)
    assert ada.password_hash.startswith("$argon2id$")
    [line] = map(json.loads, made.stderr.splitlines())
    assert {name: line[name] for name in ("logger", "event", "outcome", "user_id")} == {
        "logger": "audit",
        "event": "user_created",
        "outcome": "done",
        "user_id": ada.id,
    }
    assert line["operator"]
    assert PASSWORD not in made.stdout + made.stderr


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        pytest.param("short", "A password has 15 to 256 characters.", id="short"),
        pytest.param("passwordpassword", "This password is one that attackers try first.", id="common"),
        pytest.param("ada@example.org", "This password is one that attackers try first.", id="the address"),
    ],
)
async def test_passwords_obey_the_rules_of_the_api(command: Command, password: str, reason: str) -> None:
    refused = await command("create", "ada@example.org", stdin=password)
    assert refused == (1, "", f"deepersensor: {reason}\n")


async def test_an_address_is_taken_once(command: Command) -> None:
    await command("create", "ada@example.org", stdin=PASSWORD)
    again = await command("create", "ADA@example.org", "--json", stdin=PASSWORD)
    assert (again.exit_code, again.stdout) == (1, "")
    assert json.loads(again.stderr)["error"]["code"] == "email_taken"


async def test_everybody_is_listed_for_people_and_for_programs(command: Command) -> None:
    assert await command("list", "--json") == (0, "[]\n", "")
    for name in ("ada", "bell"):
        await command("create", f"{name}@example.org", stdin=PASSWORD)
    await command("disable", "bell@example.org")

    listed = json.loads((await command("list", "--json")).stdout)
    assert [(user["email"], user["role"], user["disabled_at"] is None) for user in listed] == [
        ("ada@example.org", "user", True),
        ("bell@example.org", "user", False),
    ]
    assert set(listed[0]) == {"id", "email", "role", "created_at", "disabled_at"}
    head, *rows = (await command("list")).stdout.splitlines()
    assert head.split() == ["ID", "EMAIL", "ROLE", "CREATED_AT", "DISABLED_AT"]
    assert [row.split()[:2] for row in rows] == [[user["id"], user["email"]] for user in listed]


async def test_who_is_not_there_is_named(command: Command) -> None:
    for name in ("nobody@example.org", new_id()):
        for act in (["disable"], ["enable"], ["set-password"], ["delete", "--yes"]):
            refused = await command(*act, name, stdin=PASSWORD)
            assert refused == (1, "", f"deepersensor: There is no user {name}.\n")


async def test_what_cannot_be_undone_is_not_done_by_mistake(command: Command) -> None:
    await command("create", "ada@example.org", stdin=PASSWORD)
    refused = await command("delete", "ada@example.org", stdin="yes\n")
    assert refused.exit_code == 2
    assert refused.stderr.startswith("deepersensor: deleting an account cannot be undone: say --yes. ")
    assert "ada@example.org" in (await command("list")).stdout


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        pytest.param([], "the following arguments are required: act", id="no act"),
        pytest.param(["create"], "the following arguments are required: user", id="nobody"),
        pytest.param(["create", "ada"], "'ada' is no e-mail address", id="no address"),
        pytest.param(["create", new_id()], "is no e-mail address", id="an id to be"),
        pytest.param(["create", "ada@example.org", PASSWORD], "unrecognized arguments", id="a password"),
        pytest.param(["create", "ada@example.org"], "no password was given", id="no password"),
        pytest.param(["list", "--all"], "unrecognized arguments: --all", id="no such flag"),
    ],
)
async def test_wrong_use_is_one_sentence_with_an_example(tmp_path: Path, words: list[str], reason: str) -> None:
    """Without a database to ask."""
    finished = await run_module("gateway.operators", {}, "users", *words, directory=tmp_path)
    assert (finished.exit_code, finished.stdout) == (2, "")
    [line] = finished.stderr.splitlines()
    assert reason in line
    assert line.endswith(ENDS)


@pytest.mark.parametrize("wanted", ["text", "json"])
async def test_a_database_out_of_reach_is_one_sentence(command: Command, wanted: str) -> None:
    with nobody_listening() as address:
        words = ["list", "--json"] if wanted == "json" else ["list"]
        finished = await command(*words, DATABASE_URL=f"postgresql://u:canary@{address}/d")
    assert (finished.exit_code, finished.stdout) == (1, "")
    assert "Do DATABASE_URL and REDIS_URL name servers that let us in" in finished.stderr
    assert len(finished.stderr.splitlines()) == 1
    assert "canary" not in finished.stderr


async def test_a_server_that_refuses_is_quoted(command: Command, database_url: str) -> None:
    password = database_url.partition("@")[0].rpartition(":")[2]
    finished = await command("list", DATABASE_URL=database_url.replace(password, "canary"))
    assert (finished.exit_code, finished.stdout) == (1, "")
    assert "password authentication failed" in finished.stderr
    assert "canary" not in finished.stderr


async def test_without_redis_it_is_done_and_said_what_that_means(command: Command) -> None:
    await command("create", "ada@example.org", stdin=PASSWORD)
    with nobody_listening() as address:
        finished = await command("disable", "ada@example.org", "--json", REDIS_URL=f"redis://{address}")
    assert finished.exit_code == 1
    assert json.loads(finished.stderr.splitlines()[-1])["error"]["code"] == "not_told"
    assert json.loads((await command("list", "--json")).stdout)[0]["disabled_at"]


def test_a_terminal_is_asked_twice_and_shows_nothing(environment: Mapping[str, str], tmp_path: Path) -> None:
    for second, exit_code, said in ((PASSWORD, 0, "is made, as user"), (f"{PASSWORD}s", 2, "are not the same")):
        shown, code = at_a_terminal(environment, tmp_path, "create", f"user-{exit_code}@example.org", PASSWORD, second)
        assert code == exit_code
        assert said in shown
        assert PASSWORD not in shown


def at_a_terminal(environment: Mapping[str, str], directory: Path, *words: str) -> tuple[str, int]:
    """Run a command at a terminal, type the last two words when asked, and return what was seen, and the exit code."""
    *arguments, first, second = words
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway.operators", "users", *arguments],
        env={"PATH": os.defpath, "PYTHONPATH": str(CHECKOUT), **environment},
        cwd=directory,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown = b""
    for prompt, typed in ((b"Password: ", first), (b"Again: ", second)):
        while not shown.endswith(prompt):
            shown += os.read(ours, 1024)
        os.write(ours, f"{typed}\n".encode())
    while chunk := _read_or_end(ours):
        shown += chunk
    os.close(ours)
    return shown.decode(), process.wait(timeout=60)


def _read_or_end(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1024)
    except OSError:  # the last of them has gone
        return b""
