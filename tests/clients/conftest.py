"""Fixtures for tests with real clients: the product runs in its own environment, clients and pytest in theirs."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.clients import accounts
from tests.clients.double import RemoteDouble
from tests.clients.node import Node
from tests.clients.offer import Offer

CHECKOUT = Path(__file__).parents[2]
_PRODUCT = (CHECKOUT / ".venv" / "bin" / "python", "-m", "tests.clients.product")
_STOP_S = 60.0  # after this a product that was asked to end is killed, which fails the test


@pytest.fixture(scope="session")
def offer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Offer]:
    """The product, running; it must end in order. Without it there is nothing to try."""
    complaints = tmp_path_factory.mktemp("product") / "stderr"
    with (
        complaints.open("wb") as stderr,
        subprocess.Popen(
            _PRODUCT, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr
        ) as product,
    ):
        assert product.stdout is not None
        line = product.stdout.readline()
        if not line:
            pytest.exit(f"{complaints.read_text()}the product did not start; the reason stands above", returncode=1)
        try:
            yield msgspec.json.decode(line, type=Offer)
        finally:
            product.communicate(timeout=_STOP_S)  # ends its stdin
        assert product.returncode == 0, f"the product was not left as it should be: {complaints.read_text()}"


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
    return accounts.newcomer(offer)


@pytest.fixture
def impatient(offer: Offer, newcomer: str) -> Node:
    """Clients in JavaScript of a newcomer at the gateway that limits."""
    return Node(offer.node, url=offer.strict_url, key=newcomer)
