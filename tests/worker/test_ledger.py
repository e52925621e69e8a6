"""The ledger writes each job that ended here once, whoever asks it to write."""

import asyncio

from redis.asyncio import Redis
from sqlalchemy import func, select

from shared.database.engine import Database
from shared.database.tables import jobs
from shared.database.users import User
from shared.ids import new_id
from shared.jobs import JobStatus
from shared.token_log import TokenLogWriter
from tests.jobs import claim_of, make_job, open_log
from worker.job_in_hand import JobInHand
from worker.ledger import BATCH_ROWS, Ledger

ROWS = BATCH_ROWS + 1


def ended(redis: Redis, user: User, *, api_key_id: str | None = None) -> JobInHand:
    job = make_job(user=user.id, api_key_id=api_key_id)
    claim = claim_of(job)
    log = open_log(TokenLogWriter(redis), claim)
    in_hand = JobInHand(claim, log, is_loaded=True)
    in_hand.outcome = JobStatus.COMPLETED
    return in_hand


async def test_writing_twice_at_once_writes_each_row_once(database: Database, ada: User, redis: Redis) -> None:
    """As when a worker drains while its ledger is writing anyway."""
    ledger = Ledger(database, worker_name="gpu-1")
    for _ in range(ROWS):
        ledger.enter(ended(redis, ada))

    await asyncio.gather(ledger.write(), ledger.write())

    async with database.transaction() as connection:
        assert (await connection.execute(select(func.count()).select_from(jobs))).scalar_one() == ROWS


async def test_a_row_says_with_which_key_its_job_was_asked_for(database: Database, ada: User, redis: Redis) -> None:
    ledger, key_id = Ledger(database, worker_name="gpu-1"), new_id()
    for api_key_id in (key_id, None):
        ledger.enter(ended(redis, ada, api_key_id=api_key_id))

    await ledger.write()

    async with database.transaction() as connection:
        assert set((await connection.execute(select(jobs.c.api_key_id))).scalars()) == {key_id, None}
