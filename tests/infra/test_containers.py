"""docker-compose.yml, the Dockerfile and the health checks inside the image, judged without Docker.

Where Docker Compose is installed, it is also asked for its opinion. That the stack really comes up is tried by hand:
docs/deployment.md, "Trying it out".
"""

import asyncio
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from aiohttp import web
from redis.asyncio import Redis

from shared.registry import Announcement, announce
from shared.settings import is_secret
from tests.http_server import nobody_listening, serving
from tests.test_env_sample import GROUPS

CHECKOUT = Path(__file__).parents[2]
DOCKERFILE = CHECKOUT / "infra" / "docker" / "Dockerfile"
NGINX_TEMPLATE = CHECKOUT / "infra" / "nginx" / "nginx.conf.template"
SECRETS = {
    "JWT_SECRET": "j" * 32,
    "POSTGRES_PASSWORD": "p" * 32,
    "REDIS_PASSWORD": "r" * 32,
    "GATEWAY_PASSWORD": "g" * 32,
    "WORKER_PASSWORD": "w" * 32,
}
STORES = {"REDIS_URL", "DATABASE_URL", "GATEWAY_DATABASE_URL", "WORKER_DATABASE_URL"}
SET_BY_NGINX_ENTRYPOINT = {"NGINX_LOCAL_RESOLVERS"}

STACK: dict[str, Any] = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = STACK["services"]


@pytest.fixture(scope="session")
def compose() -> list[str]:
    """The command of a Docker Compose that knows today's file format; it needs no daemon to judge a file."""
    for command in (["docker", "compose"], ["docker-compose"]):
        try:
            version = subprocess.run(
                [*command, "version", "--short"], capture_output=True, text=True, check=True
            ).stdout
        except (OSError, subprocess.CalledProcessError):
            continue
        if tuple(map(int, re.findall(r"\d+", version)[:2])) >= (2, 24):
            return command
    pytest.skip("Docker Compose 2.24 is not installed: whether it accepts docker-compose.yml was NOT tested")


def _ask(compose: list[str], environment: dict[str, str], *overrides: str) -> subprocess.CompletedProcess[str]:
    files = [f"--file={CHECKOUT / name}" for name in ("docker-compose.yml", *overrides)]
    return subprocess.run(
        [*compose, "--env-file", os.devnull, *files, "config", "--quiet"],
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "overrides",
    [(), ("infra/docker/compose.demo.yml",), ("infra/docker/compose.gpu.yml",)],
    ids=["alone", "demo", "gpu"],
)
def test_compose_accepts_the_stack(compose: list[str], overrides: tuple[str, ...]) -> None:
    verdict = _ask(compose, SECRETS, *overrides)
    assert (verdict.returncode, verdict.stderr) == (0, "")


@pytest.mark.parametrize("missing", SECRETS)
def test_compose_refuses_to_start_without_a_secret_and_names_it(compose: list[str], missing: str) -> None:
    verdict = _ask(compose, {name: value for name, value in SECRETS.items() if name != missing})
    assert verdict.returncode != 0
    assert f"required variable {missing} is missing" in verdict.stderr


def test_the_roles_run_in_production() -> None:
    for role in ("gateway", "worker", "migrate"):
        assert SERVICES[role]["environment"]["APP_ENV"] == "production"


def test_only_a_gateway_is_told_what_signs_tokens() -> None:
    told = {name for name, service in SERVICES.items() if service.get("environment", {}).get("JWT_SECRET") != ""}
    reads_env_file = {name for name, service in SERVICES.items() if "env_file" in service}
    assert told & reads_env_file == {"gateway"}


@pytest.mark.parametrize(
    ("service", "knows"),
    [
        ("nginx", set[str]()),
        ("gateway", {"JWT_SECRET", "GATEWAY_PASSWORD"}),
        ("worker", {"WORKER_PASSWORD"}),
        ("migrate", {"POSTGRES_PASSWORD", "GATEWAY_PASSWORD", "WORKER_PASSWORD"}),
        ("postgres", {"POSTGRES_PASSWORD"}),
        ("redis", {"REDIS_PASSWORD", "GATEWAY_PASSWORD", "WORKER_PASSWORD"}),
        ("ollama", set[str]()),
    ],
)
def test_a_service_is_told_no_secret_but_its_own(service: str, knows: set[str]) -> None:
    told = SERVICES[service].get("environment", {})
    assert {name for name in SECRETS if any(f"${{{name}" in str(value) for value in told.values())} == knows
    if "env_file" in SERVICES[service]:  # brings all of .env, and what is set here takes its place
        settings = (field for group in GROUPS for field in msgspec.structs.fields(group))
        secret_settings = {field.name.upper() for field in settings if is_secret(field.type)} - STORES
        assert {name for name in (*SECRETS, *secret_settings) if name not in told} == set()


def test_no_password_stands_on_a_command_line() -> None:
    for service in SERVICES.values():
        assert "PASSWORD" not in str(service.get("command"))


def test_only_nginx_can_be_reached_from_outside() -> None:
    assert {name for name, service in SERVICES.items() if "ports" in service} == {"nginx"}
    assert not any("network_mode" in service for service in SERVICES.values())


@pytest.mark.parametrize(
    ("one", "other"), [("nginx", "postgres"), ("nginx", "redis"), ("nginx", "ollama"), ("gateway", "ollama")]
)
def test_services_that_must_not_talk_share_no_network(one: str, other: str) -> None:
    assert not set(SERVICES[one]["networks"]) & set(SERVICES[other]["networks"])


@pytest.mark.parametrize("name", ["postgres", "redis", "gateway", "migrate"])
def test_a_service_without_business_outside_has_no_way_out(name: str) -> None:
    assert all(STACK["networks"][network]["internal"] for network in SERVICES[name]["networks"])


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_runs_with_the_least_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is (name != "ollama")


@pytest.mark.parametrize("name", sorted(SERVICES.keys() - {"migrate", "gateway"}))
def test_every_service_has_a_health_check(name: str) -> None:
    """The gateway's is the image's own, and `migrate` ends."""
    assert SERVICES[name]["healthcheck"]["test"]


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_is_of_a_pinned_version(name: str) -> None:
    assert re.fullmatch(r"[a-z/]+:(\d+(\.\d+)*(-[a-z]+)?|\$\{GIT_SHA:-local\})", SERVICES[name]["image"])


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_can_be_scaled(name: str) -> None:
    """A name of its own, or a port on the host, can be had by one container only."""
    assert "container_name" not in SERVICES[name]


def test_gateways_and_workers_start_after_the_schema_is_there() -> None:
    for role in ("gateway", "worker"):
        assert SERVICES[role]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}


def test_nginx_is_told_everything_its_configuration_asks_for() -> None:
    placeholders = set(re.findall(r"\$\{([A-Z_]+)\}", NGINX_TEMPLATE.read_text()))
    assert placeholders - SET_BY_NGINX_ENTRYPOINT <= set(SERVICES["nginx"]["environment"])


def test_redis_never_throws_jobs_away() -> None:
    command = SERVICES["redis"]["command"][-1]
    assert "--maxmemory-policy noeviction" in command
    assert "--appendonly yes" in command


def _stages() -> dict[str, str]:
    parts = re.split(r"^FROM \S+ AS (\S+)$", DOCKERFILE.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def _copied(stage: str) -> list[str]:
    lines = re.findall(r"^COPY (?!--from)(.+)$", stage, flags=re.MULTILINE)
    return [source for line in lines for source in line.split()[:-1]]


def test_everything_the_images_are_made_of_exists_and_reaches_the_builder() -> None:
    allowed = {line[1:] for line in (CHECKOUT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    sources = {source for stage in _stages().values() for source in _copied(stage)}
    assert sources == allowed
    assert [source for source in sources if not (CHECKOUT / source).exists()] == []


def test_the_product_is_the_image_built_by_default_and_holds_no_part_of_the_local_stack() -> None:
    name, stage = list(_stages().items())[-1]
    assert name == SERVICES["gateway"]["build"]["target"]
    assert [source for source in _copied(stage) if source.startswith(("infra/local", "tests"))] == []


@pytest.mark.parametrize("name", ["demo", "deepersensor"])
def test_no_image_runs_as_root(name: str) -> None:
    assert re.findall(r"^USER (\d+):\d+$", _stages()[name], flags=re.MULTILINE) == ["10001"]


async def _check(script: str, *arguments: str, **environment: str) -> int | None:
    """Run one of the image's health checks and return its exit code."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        DOCKERFILE.parent / script,
        *arguments,
        env={"PYTHONPATH": str(CHECKOUT), **environment},
        cwd="/",
    )
    return await process.wait()


@pytest.mark.parametrize(("status", "exit_code"), [(200, 0), (503, 1), (404, 1)])
async def test_a_gateway_is_healthy_when_its_health_answers_200(status: int, exit_code: int) -> None:
    async def gateway(request: web.Request) -> web.Response:
        assert request.path == "/health"
        return web.Response(status=status)

    async with serving(gateway) as address:
        assert await _check("check_gateway.py", address.partition(":")[2]) == exit_code


async def test_a_gateway_that_does_not_listen_is_not_healthy() -> None:
    with nobody_listening() as address:
        assert await _check("check_gateway.py", address.partition(":")[2]) == 1


@pytest.mark.parametrize(
    ("host", "lease_ms", "exit_code"),
    [(socket.gethostname(), 60_000, 0), (socket.gethostname(), -1, 1), ("another-host", 60_000, 1)],
    ids=["alive", "lease has ended", "only others are alive"],
)
async def test_a_worker_is_healthy_while_its_lease_runs(
    redis: Redis, redis_url: str, host: str, lease_ms: int, exit_code: int
) -> None:
    worker = Announcement(
        id="worker", host=host, pid=1, models=(), slots=1, max_jobs=1, ollama_version="", draining=False
    )
    await announce(redis, worker, lease_ms=lease_ms)
    assert await _check("check_worker.py", REDIS_URL=redis_url) == exit_code


async def test_a_worker_that_has_lost_redis_is_not_healthy() -> None:
    with nobody_listening() as address:
        assert await _check("check_worker.py", REDIS_URL=f"redis://{address}/0") == 1


async def test_the_check_of_a_worker_ends_in_time_when_the_name_server_is_silent(tmp_path: Path) -> None:
    """As Docker's is on a network without a way out, once no container has the name any more."""
    (tmp_path / "sitecustomize.py").write_text(
        "import socket, time\nsocket.getaddrinfo = lambda *_, **__: time.sleep(60)"
    )
    started = time.monotonic()
    assert await _check("check_worker.py", PYTHONPATH=f"{tmp_path}:{CHECKOUT}", REDIS_URL="redis://redis:6379/0") == 1
    assert time.monotonic() - started < float(SERVICES["worker"]["healthcheck"]["timeout"].removesuffix("s"))


def test_health_shows_the_tag_of_the_image() -> None:
    tag = SERVICES["gateway"]["image"].partition(":")[2]
    assert SERVICES["gateway"]["build"]["args"]["GIT_SHA"] == tag == "${GIT_SHA:-local}"
