"""Runs the double as a process of its own."""

import argparse
import asyncio
import math

from infra.local.demo_model import DEFAULT_HOST, DEFAULT_MODEL, serve
from tests.ollama_double.server import OllamaDouble


def main() -> None:
    """Serve until SIGINT or SIGTERM; the first line printed is the URL."""
    parser = argparse.ArgumentParser(prog="python -m tests.ollama_double")
    parser.add_argument("--host", default=DEFAULT_HOST)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--model", action="append", metavar="NAME")
    parser.add_argument("--tokens-per-second", type=float, default=math.inf, metavar="N")
    parser.add_argument("--goes-on", action="store_true", help="continue a trailing message of the assistant")
    options = parser.parse_args()
    double = OllamaDouble(
        options.model or [DEFAULT_MODEL], tokens_per_second=options.tokens_per_second, goes_on=options.goes_on
    )
    asyncio.run(serve(double.application(), options.host, options.port, _announce))


def _announce(url: str) -> None:
    print(url, flush=True)  # noqa: T201  whoever started it reads it


if __name__ == "__main__":
    main()
