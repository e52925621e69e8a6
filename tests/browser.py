"""A real browser: headless Chromium, without a driver. What it has to say, its page sends to the test's own server."""

import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from infra.local.program import Program, no_fault, start
from tests.environment import inherited_variables

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

_STOP_S = 20.0


@asynccontextmanager
async def browsing(url: str, *, profile: Path) -> AsyncGenerator[None]:
    """Have a page open inside the block."""
    assert CHROMIUM is not None
    flags = (
        "--headless=new",
        "--no-sandbox",  # tests may run as root
        "--disable-gpu",
        "--disable-dev-shm-usage",  # containers have little of it
        "--disable-background-networking",
        "--disable-component-update",
        "--no-first-run",
        "--no-proxy-server",
        f"--user-data-dir={profile}",
    )
    program = Program(
        name="chromium",
        argv=(CHROMIUM, *flags, url),
        environment=inherited_variables() | {"HOME": str(profile)},
        directory=profile.parent,
        log=profile.with_suffix(".log"),
        fault=no_fault,
        stop_timeout_s=_STOP_S,
    )
    running = await start(program)
    try:
        yield
    finally:
        await running.stop()
