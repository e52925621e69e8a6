"""The stand-in for Ollama, fake_ollama.c, as a program of the stack."""

from collections.abc import Mapping
from pathlib import Path

from infra.local.ports import free_port
from infra.local.program import Program
from tests.benchmarks.answering import http_fault


def fake_ollama(binary: Path, directory: Path, models: Mapping[str, int]) -> tuple[Program, int]:
    """Return a server of `models`, tokens per second and stream by name, and the port it listens on."""
    port = free_port()
    program = Program(
        name="fake-ollama",
        argv=(str(binary), str(port), *(f"{name}={pace}" for name, pace in models.items())),
        environment={},
        log=directory / "fake-ollama.log",
        fault=lambda _: http_fault(port, "/api/version"),
    )
    return program, port
