"""Fixtures for tests with real clients: the product runs in its own environment, clients and pytest in theirs."""

import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import pytest

from tests.clients.double import RemoteDouble
from tests.clients.node import Node
from tests.clients.offer import Offer

CHECKOUT = Path(__file__).parents[2]
_PYTHON = CHECKOUT / ".venv" / "bin" / "python"
_STOP_S = 60.0  # after this a product that was asked to end is killed, which fails the test


@pytest.fixture(scope="session")
def offer() -> Iterator[Offer]:
    """The product, running; it must end in order."""
    command = [_PYTHON, "-m", "tests.clients.product"]
    with subprocess.Popen(command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as product:
        assert product.stdout is not None
        line = product.stdout.readline()
        assert line, "the product did not start; the reason stands above"
        try:
            yield msgspec.json.decode(line, type=Offer)
        finally:
            product.communicate(timeout=_STOP_S)  # ends its stdin
        assert product.returncode == 0, "the product was not left as it should be; the reason stands above"


@pytest.fixture(scope="session")
def remote_double(offer: Offer) -> Iterator[RemoteDouble]:
    """The double of Ollama; a test asks for `double`."""
    double = RemoteDouble(offer.double_url, offer.models)
    yield double
    double.close()


@pytest.fixture
def double(remote_double: RemoteDouble) -> RemoteDouble:
    """The double of Ollama, which has been asked nothing yet."""
    remote_double.begin()
    return remote_double


@pytest.fixture(scope="session")
def node(offer: Offer) -> Node:
    """Clients in JavaScript of a program with a key."""
    return Node(offer.node, url=offer.url, key=offer.api_key)


@pytest.fixture(scope="session")
def person(offer: Offer) -> Node:
    """Clients in JavaScript of somebody who has logged in."""
    return Node(offer.node, url=offer.url, key=offer.access_token)


@pytest.fixture(scope="session")
def stranger(offer: Offer) -> Node:
    """Clients in JavaScript of nobody."""
    return Node(offer.node, url=offer.url, key="sk-ds-nobody")


@pytest.fixture
def newcomer(offer: Offer) -> str:
    """The access token of somebody who has asked for nothing yet."""
    credentials = {"email": f"{secrets.token_hex(8)}@example.org", "password": secrets.token_hex(16)}
    httpx.post(f"{offer.strict_url}/v1/auth/signup", json=credentials).raise_for_status()
    return httpx.post(f"{offer.strict_url}/v1/auth/login", json=credentials).json()["access_token"]


@pytest.fixture
def impatient(offer: Offer, newcomer: str) -> Node:
    """Clients in JavaScript of a newcomer at the gateway that limits."""
    return Node(offer.node, url=offer.strict_url, key=newcomer)
