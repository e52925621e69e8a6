"""What a process writes, seen from outside: each test of `configure` runs one."""

import asyncio
import json
import logging
import subprocess
import sys
import textwrap
from typing import Any

import pytest

from shared import log

SECRET = "s3cr3t-value"
FROM_INFO = ["gateway info", "gateway warning", "uvicorn info", "uvicorn warning", "httpx warning"]


def written(program: str, **settings: str) -> list[str]:
    """Run `program` with logging configured and return the lines of its standard error."""
    prelude = f"""
        import logging
        from shared import log
        from shared.settings import AppSettings
        log.configure(AppSettings(**{settings}), role="gateway")
    """
    script = textwrap.dedent(prelude) + textwrap.dedent(program)
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    assert finished.stdout == ""
    return finished.stderr.splitlines()


def lines(program: str, **settings: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in written(program, **settings)]


def formatted(event: str, /, **fields: object) -> dict[str, Any]:
    record = logging.makeLogRecord({"name": "gateway.test", "levelname": "INFO", "msg": event, **fields})
    return json.loads(log.JsonFormatter("gateway").format(record))


def test_a_line_is_one_object_with_its_fields() -> None:
    [line] = lines("""
        logging.getLogger("worker.slots").warning("slot_lost", extra={"model": "llama3.2:3b", "slots": 3})
    """)

    assert line.pop("ts").endswith("Z")
    assert line == {
        "level": "WARNING",
        "logger": "worker.slots",
        "event": "slot_lost",
        "role": "gateway",
        "model": "llama3.2:3b",
        "slots": 3,
    }


def test_bound_ids_stand_in_every_line_from_inside_whoever_writes_it() -> None:
    """Also in those of libraries, of tasks started inside, and of nothing outside."""
    inside, library, task, outside = lines("""
        import asyncio
        async def speak(name):
            logging.getLogger(name).info("spoken")
        async def main():
            with log.bound(request_id="r-1"):
                with log.bound(job_id="j-1"):
                    await speak("worker.main")
                    await speak("uvicorn.error")
                    task = asyncio.create_task(speak("worker.task"))
            await task
            await speak("worker.main")
        asyncio.run(main())
    """)

    for line in (inside, library, task):
        assert (line["request_id"], line["job_id"]) == ("r-1", "j-1")
    assert not {"request_id", "job_id"} & set(outside)


def test_tasks_side_by_side_keep_their_own_ids() -> None:
    async def read_back(number: int) -> object:
        with log.bound(job_id=number):
            await asyncio.sleep(0)
            return formatted("x")["job_id"]

    async def both() -> list[object]:
        return await asyncio.gather(*(read_back(number) for number in range(3)))

    assert asyncio.run(both()) == [0, 1, 2]


def test_an_exception_is_one_field_of_one_line() -> None:
    [line] = lines("""
        try:
            raise LookupError("first\\nsecond")
        except LookupError:
            logging.getLogger("gateway.x").exception("lookup_failed")
    """)

    assert line["event"] == "lookup_failed"
    assert line["exception"].startswith("Traceback (most recent call last)")
    assert line["exception"].endswith("LookupError: first\nsecond")


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("DEBUG", ["gateway debug", *FROM_INFO]),
        ("INFO", FROM_INFO),
        ("ERROR", []),
    ],
)
def test_levels_are_ours_and_debug_lines_of_libraries_never_appear(level: str, expected: list[str]) -> None:
    program = """
        for name in ("gateway", "uvicorn", "httpx"):
            for level in (10, 20, 30):
                logging.getLogger(name + ".x").log(level, name + " " + logging.getLevelName(level).lower())
    """
    assert [line["event"] for line in lines(program, log_level=level)] == expected


def test_text_is_one_readable_line_and_breaks_in_it_are_escaped() -> None:
    [line] = written(
        """
        with log.bound(request_id="r-1"):
            logging.getLogger("gateway.x").info("things\\nhappened", extra={"reason": "so\\nit is", "no": ""})
        """,
        log_format="text",
    )

    _, _, rest = line.partition(" ")
    assert rest == r'INFO    gateway.x: things\nhappened request_id=r-1 reason="so\nit is" no=""'


def test_text_shows_a_traceback_below_its_line() -> None:
    first, *rest = written(
        """
        try:
            1 / 0
        except ZeroDivisionError:
            logging.getLogger("gateway.x").exception("division_failed")
        """,
        log_format="text",
    )

    assert first.endswith("gateway.x: division_failed")
    assert rest[-1] == "ZeroDivisionError: division by zero"


def test_warnings_are_lines_too() -> None:
    [line] = lines("import warnings; warnings.warn('old ways')")

    assert line["logger"] == "py.warnings"
    assert "old ways" in line["event"]


def test_fields_cannot_pass_for_what_the_line_says_of_itself() -> None:
    line = formatted("answered", ts="never", level="NONE", logger="x", event="denied", role="worker")

    assert (line["event"], line["logger"], line["role"], line["level"]) == (
        "answered",
        "gateway.test",
        "gateway",
        "INFO",
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("\ud800", "\ud800", id="half a surrogate pair"),
        pytest.param(2**70, 2**70, id="a number beyond 64 bits"),
        pytest.param({(1, 2): 3}, {"(1, 2)": 3}, id="a key that JSON has not"),
        pytest.param(ValueError("x"), "x", id="an exception"),
        pytest.param("a\u2028b\nc", "a\u2028b\nc", id="breaks"),
    ],
)
def test_no_value_costs_the_line(value: object, expected: object) -> None:
    assert formatted("odd_value_seen", value=value)["value"] == expected


@pytest.mark.parametrize(
    "text",
    [
        f"GET /v1/chat/1/stream?stream_token={SECRET}&last_event_id=3 HTTP/1.1",
        f"GET /?token={SECRET}",
        f"Authorization: Bearer {SECRET}",
        f"authorization: {SECRET}",
        f"bearer {SECRET}",
        str({"Authorization": f"Bearer {SECRET}"}),
        json.dumps({"headers": json.dumps({"authorization": f"Bearer {SECRET}"})}),
        json.dumps({"access_token": SECRET, "refresh_token": SECRET}),
        f"JWT_SECRET={SECRET}",
        f"password={SECRET}",
        json.dumps({"password": SECRET}),
        f"cannot reach postgresql://user:{SECRET}@127.0.0.1:5432/name",
        f"cannot reach redis://:{SECRET}@127.0.0.1",
        f"key sk-ds-{SECRET}",
        f"session rt-ds-{SECRET}",
        f"got eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.{SECRET}",
    ],
)
def test_credentials_are_masked_wherever_they_stand(text: str) -> None:
    """In the event, in a field, in both forms; and the line stays JSON."""
    in_event, in_field = formatted(text), formatted("seen", field=text)
    as_text = log.TextFormatter().format(logging.makeLogRecord({"msg": text, "field": text}))

    for line in (in_event, in_field, as_text):
        assert SECRET not in str(line)
        assert "[masked]" in str(line)
    if "stream_token" in text:
        assert in_event["event"].endswith("&last_event_id=3 HTTP/1.1")


@pytest.mark.parametrize(
    "text",
    [
        "completion_tokens=17",
        "http://127.0.0.1:11434/api/chat",
        "first_token_ms=3",
        "authors: 2, tokens: 5",
        "a: b@c.de",
    ],
)
def test_what_is_no_credential_stays(text: str) -> None:
    assert formatted(text)["event"] == text
