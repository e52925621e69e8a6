"""Measures no gateway at all, nginx, and ours, in turns on the same two cores; docs/benchmarks.md explains the table.

Exits with 1 when an answer was wrong or something could not be measured; a figure that misses its target is no error.
"""

import argparse
import asyncio
import resource
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from infra.local.errors import StartFailedError
from tests.benchmarks import report
from tests.benchmarks.bench import FULL, QUICK, Bench, Scale
from tests.benchmarks.c_programs import CannotCompileError, compile_programs
from tests.benchmarks.conversations import MESSAGES, QUICK_MESSAGES, measure_conversations
from tests.benchmarks.load import Load
from tests.benchmarks.logins import measure_logins
from tests.benchmarks.machine import describe_machine
from tests.benchmarks.model import fake_ollama
from tests.benchmarks.nginx import nginx, nginx_binary
from tests.benchmarks.ours import complaints, our_stack, started
from tests.benchmarks.processors import share_two_cores
from tests.benchmarks.rounds import measure_rounds
from tests.benchmarks.rows import ROWS, SCENARIOS
from tests.benchmarks.scenarios import MeasurementError
from tests.benchmarks.series import measure_series
from tests.benchmarks.surfaces import measure_surfaces
from tests.benchmarks.targets import MODELS, UNPACED, Target

_TARGETS = ("direct", "nginx", "ours")
_ROUNDS = 3


class _Options(argparse.Namespace):
    quick: bool
    rounds: int
    patience: float
    only: list[str]
    targets: list[str]
    series: bool
    conversations: bool
    logins: bool
    surfaces: bool


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    options = _parser().parse_args(arguments, _Options())
    try:
        with tempfile.TemporaryDirectory(prefix="deepersensor-bench-") as name:
            directory = Path(name)
            directory.chmod(0o711)  # PostgreSQL runs as another user when we are root
            return asyncio.run(_run(directory, options))
    except (CannotCompileError, StartFailedError, MeasurementError) as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round, under a minute: does it work at all")
    parser.add_argument("--rounds", type=int, default=_ROUNDS, help="how often everything is measured (%(default)s)")
    parser.add_argument(
        "--patience", type=float, default=0, help="seconds that each measurement may wait for quiet, or be taken again"
    )
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, default=list(SCENARIOS), help="measure these rows")
    parser.add_argument("--targets", nargs="+", choices=_TARGETS, default=list(_TARGETS), help="measure these alone")
    parser.add_argument("--series", action="store_true", help="instead: how cost grows with workers, streams and jobs")
    parser.add_argument(
        "--conversations", action="store_true", help="instead: queries among a million messages (--quick: 40,000)"
    )
    parser.add_argument("--logins", action="store_true", help="instead: 200 logins at once, and the event loop's lag")
    parser.add_argument("--surfaces", action="store_true", help="instead: what OpenAI's and Ollama's protocols cost")
    return parser


async def _run(directory: Path, options: _Options) -> int:
    cores = share_two_cores()
    _allow_many_connections()
    async with AsyncExitStack() as stack:
        machine = await describe_machine(cores)
        if options.conversations:
            size = QUICK_MESSAGES if options.quick else MESSAGES
            text = await measure_conversations(directory, messages_in_all=size)
            sys.stdout.write("\n".join((*machine, "", text, "")))
            return 0
        rounds = 1 if options.quick else options.rounds
        bench, model_port = await _prepare(stack, directory, QUICK if options.quick else FULL)
        if options.series:
            text = await measure_series(bench, directory, model_port)
        elif options.logins:
            text = await measure_logins(directory, model_port, rounds=rounds)
        elif options.surfaces:
            text = await measure_surfaces(bench, directory, model_port, rounds=rounds, patience_s=options.patience)
        else:
            text = await _measure_table(stack, directory, bench, model_port, options, rounds)
    sys.stdout.write("\n".join((*machine, "", text, "", *report.account(bench.outcomes), *complaints(directory), "")))
    return 0 if report.all_exact(bench.outcomes) else 1


def _allow_many_connections() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def _prepare(stack: AsyncExitStack, directory: Path, scale: Scale) -> tuple[Bench, int]:
    programs = await compile_programs(directory)
    program, port = fake_ollama(programs.fake_ollama, directory, MODELS)
    model = await started(stack, program)
    return Bench(programs.load, model.pid, scale), port


async def _measure_table(
    stack: AsyncExitStack, directory: Path, bench: Bench, model_port: int, options: _Options, rounds: int
) -> str:
    targets = await _start_targets(stack, directory, model_port, options.targets)
    for target in targets:  # what is loaded or connected at first use is no part of any row
        await bench.send(target, target.streamed(UNPACED, 8), Load(clients=16, requests=8))
    scenarios = {name: SCENARIOS[name] for name in options.only}
    measured = await measure_rounds(bench, targets, scenarios, rounds=rounds, patience_s=options.patience)
    rows = [row for row in ROWS if row.scenario in options.only]
    return report.table(rows, measured) + "\n\n" + report.quoted(rows)


async def _start_targets(stack: AsyncExitStack, directory: Path, model_port: int, names: Sequence[str]) -> list[Target]:
    targets = [Target(name="direct", port=model_port)]
    binary = nginx_binary()
    if binary is None:
        sys.stderr.write("nginx is not measured: install the package nginx-light to have it in the table\n")
    elif "nginx" in names:
        targets.append(await _start_nginx(stack, binary, directory, model_port))
    if "ours" in names:
        targets.append(await stack.enter_async_context(our_stack(directory / "ours", model_port=model_port)))
    return [target for target in targets if target.name in names]


async def _start_nginx(stack: AsyncExitStack, binary: str, directory: Path, model_port: int) -> Target:
    program, port = nginx(binary, directory / "nginx", model_port=model_port)
    running = await started(stack, program)
    spare, _ = nginx(binary, directory / "spare-nginx", model_port=model_port)
    return Target(name="nginx", port=port, pids=(running.pid,), spare=spare)


if __name__ == "__main__":
    sys.exit(main())
