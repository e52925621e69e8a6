from pathlib import Path

import pytest

from tests.commands import run_module


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        pytest.param("REDIS_URL", "redis://:canary@h:bad/0", id="a Redis port in letters"),
        pytest.param("REDIS_URL", "redis://:canary@h/abc", id="a Redis database by name"),
        pytest.param("DATABASE_URL", "postgresql://u:canary@h:bad/d", id="a PostgreSQL port in letters"),
        pytest.param("OLLAMA_BASE_URL", "http://127.0.0.1:abc", id="an Ollama port in letters"),
        pytest.param("OLLAMA_BASE_URL", "http://127.0.0.1:99999", id="an Ollama port too high"),
        pytest.param("OLLAMA_BASE_URL", "http://:11434", id="an Ollama without a host"),
    ],
)
async def test_a_wrong_setting_stops_the_start_with_one_line(variable: str, value: str, tmp_path: Path) -> None:
    finished = await run_module("worker", {variable: value}, directory=tmp_path)
    assert (finished.exit_code, len(finished.stderr.splitlines())) == (2, 1)
    assert finished.stderr.startswith(f"{variable} is wrong: ")
    assert f"Example: {variable}=" in finished.stderr
    assert "canary" not in finished.stderr
