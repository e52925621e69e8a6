"""A worker gives Ollama as many jobs at once as it has slots, and no more: a model that is full slows down for all."""

import asyncio

from aiohttp import web

from infra.local.ollama_wire import GeneratingCall
from tests.end_to_end.stack import Stack
from tests.ollama_double import Answer, OllamaDouble


class GaugedDouble(OllamaDouble):
    """A double that knows how many answers it gave at once, per model and in all."""

    most = 0
    most_of_one_model = 0

    async def respond(self, request: web.Request, call: GeneratingCall) -> web.StreamResponse:
        """See `OllamaDouble.respond`."""
        active = [call.model, *(generation.model for generation in self.state.ended_as("active"))]
        self.most = max(self.most, len(active))
        self.most_of_one_model = max(self.most_of_one_model, active.count(call.model))
        return await super().respond(request, call)


async def test_many_jobs_for_few_slots(stack: Stack) -> None:
    models = ["left:latest", "right:latest"]
    double = await stack.add_double(GaugedDouble(models))
    for model in models:
        double.script(model, Answer(("a", "b", "c"), step_ms=10))
    await stack.add_worker(double, worker_slots=2, worker_max_jobs=3)
    await stack.until_served(*models)
    client = await stack.client()

    responses = await asyncio.gather(*(client.chat(models[number % 2]) for number in range(30)))

    assert {response.status_code for response in responses} == {200}
    assert (double.most_of_one_model, double.most) == (2, 3)
