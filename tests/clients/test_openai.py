"""The official client of OpenAI in Python."""

from collections.abc import Iterator

import openai
import pytest

from tests.clients.offer import Offer

pytestmark = pytest.mark.client("openai", "Python")


@pytest.fixture
def client(offer: Offer) -> Iterator[openai.OpenAI]:
    """Somebody who has changed address and key."""
    with openai.OpenAI(base_url=f"{offer.url}/openai/v1", api_key=offer.api_key, max_retries=0) as client:
        yield client


def test_an_unknown_route_is_a_not_found_error(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        client.responses.create(model="ada", input="Hi")
