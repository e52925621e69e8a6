"""instructor: answers as objects, by the protocol of OpenAI."""

from collections.abc import Iterable, Iterator

import instructor
import openai
import pytest

from tests.clients.double import RemoteDouble
from tests.clients.offer import Offer
from tests.clients.questions import CITY, PROMPT, City
from tests.ollama_double import Answer, ToolCalls

pytestmark = pytest.mark.client("instructor", "Python")

JSON = Answer((CITY.model_dump_json(),))
CALL = Answer((ToolCalls([{"function": {"name": "City", "arguments": CITY.model_dump()}}]),))
ANSWERS = {instructor.Mode.TOOLS: CALL, instructor.Mode.JSON: JSON, instructor.Mode.JSON_SCHEMA: JSON}


@pytest.fixture
def client(offer: Offer) -> Iterator[openai.OpenAI]:
    """Somebody who has changed address and key."""
    with openai.OpenAI(base_url=f"{offer.url}/openai/v1", api_key=offer.api_key, max_retries=0) as client:
        yield client


@pytest.mark.parametrize("mode", ANSWERS, ids=lambda mode: mode.value)
def test_an_object(client: openai.OpenAI, double: RemoteDouble, mode: instructor.Mode) -> None:
    asking = instructor.from_openai(client, mode=mode)
    city = asking.create(
        model=double.model(ANSWERS[mode]), messages=[{"role": "user", "content": PROMPT}], response_model=City
    )
    assert city.model_dump() == CITY.model_dump()  # its class is one that instructor has derived


def test_an_object_while_it_is_written(client: openai.OpenAI, double: RemoteDouble) -> None:
    text = CITY.model_dump_json()
    model = double.model(Answer((text[:9], text[9:])))
    asking = instructor.from_openai(client, mode=instructor.Mode.JSON)
    parts = asking.create_partial(model=model, messages=[{"role": "user", "content": PROMPT}], response_model=City)
    assert list(parts)[-1].model_dump() == CITY.model_dump()


def test_several_objects(client: openai.OpenAI, double: RemoteDouble) -> None:
    cities = {"tasks": [CITY.model_dump(), CITY.model_dump()]}
    model = double.model(Answer((ToolCalls([{"function": {"name": "IterableCity", "arguments": cities}}]),)))
    asking = instructor.from_openai(client)
    found: Iterable[City] = asking.create_iterable(
        model=model, messages=[{"role": "user", "content": PROMPT}], response_model=City
    )
    assert list(found) == [CITY, CITY]


def test_an_answer_of_the_wrong_form_is_asked_for_again(client: openai.OpenAI, double: RemoteDouble) -> None:
    model = double.model(Answer(('{"name": 1}',)), JSON)
    asking = instructor.from_openai(client, mode=instructor.Mode.JSON)
    city = asking.create(
        model=model, messages=[{"role": "user", "content": PROMPT}], response_model=City, max_retries=2
    )
    assert city.model_dump() == CITY.model_dump()  # its class is one that instructor has derived
    assert len(double.asked()) == 2


async def test_a_client_that_does_not_block(offer: Offer, double: RemoteDouble) -> None:
    async with openai.AsyncOpenAI(base_url=f"{offer.url}/openai/v1", api_key=offer.api_key) as client:
        asking = instructor.from_openai(client)
        city = await asking.create(
            model=double.model(CALL), messages=[{"role": "user", "content": PROMPT}], response_model=City
        )
    assert city.model_dump() == CITY.model_dump()  # its class is one that instructor has derived
