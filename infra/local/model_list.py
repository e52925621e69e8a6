"""Waits until the gateway knows a model that can be asked."""

import asyncio

from infra.local.http_call import call
from shared import redis_client
from shared.registry import read_registry

_MAY_TAKE_S = 10.0  # a gateway hears of new workers at once, and looks again every few seconds
_RETRY_S = 0.05


async def first_model(address: str, redis_url: str, token: str | None) -> str | None:
    """Return the first model that a worker serves, as soon as the gateway at `address` lists it.

    Returns None when no worker has any. A gateway that does not show its list to us is believed to know.
    """
    async with redis_client.connect(redis_url, role="probe") as client:
        served = (await read_registry(client)).served_models()
    if not served:
        return None
    async with asyncio.timeout(_MAY_TAKE_S):
        while not await _lists(address, token, served[0]):  # noqa: ASYNC110  the list is another process's
            await asyncio.sleep(_RETRY_S)
    return served[0]


async def _lists(address: str, token: str | None, model: str) -> bool:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = await call(f"{address}/v1/models", headers=headers)
    return not answer.is_success or model in answer.json()
