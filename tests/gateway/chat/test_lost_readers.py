"""Who reads a durable job that Redis lacks waits for as long as PostgreSQL has it to do, and not longer."""

from redis.asyncio import Redis

from gateway.chat.lost_readers import LostReaders
from gateway.relay import Relay
from shared.database import accepted_jobs
from shared.database.engine import Database
from shared.database.users import User
from tests.jobs import MODEL, make_job


async def test_only_readers_of_jobs_that_are_not_to_be_done_are_told(
    redis: Redis, database: Database, ada: User
) -> None:
    relay = Relay(redis, lost_after_s=0)
    accepted, ended = (make_job(user=ada.id, is_durable=True) for _ in range(2))
    async with database.transaction() as connection:
        await accepted_jobs.accept(connection, accepted, queue_timeout_ms=60_000, idempotency=None)
    with (
        relay.read(accepted.id, MODEL) as waiting,
        relay.read(ended.id, MODEL) as lost,
        relay.read(ended.id, MODEL) as served,
    ):
        for reader in (waiting, lost, served):
            reader.is_durable = True
        waiting.miss()
        lost.miss()

        await LostReaders(relay, database).check()

        assert [reader.ended for reader in (waiting, lost, served)] == [False, True, False]
