"""Deletes conversations: nothing of what was said stays anywhere, and what is being said is stopped."""

from redis.exceptions import RedisError

from gateway.admission.rate_limit import RETRY_WITHOUT_REDIS_S
from gateway.chat.cancel import Canceller
from gateway.conversations.desk import check_id
from shared.database import accepted_jobs, conversations, jobs, messages, users
from shared.database.engine import Database
from shared.erasure import Erasure
from shared.errors import StoreUnavailableError


class Deletion:
    """Deletes conversations for their owners.

    Args:
        database: Where they are.
        erasure: Erases from Redis what their jobs have answered.
        canceller: Stops the job that answers just now.

    """

    def __init__(self, database: Database, erasure: Erasure, canceller: Canceller) -> None:
        self._database = database
        self._erasure = erasure
        self._canceller = canceller

    async def delete(self, conversation_id: str, *, user_id: str) -> None:
        """Delete a conversation with its messages and the answers of its jobs; one that is under way is cancelled.

        Raises:
            NotFoundError: There is no such conversation, or it is somebody else's.
            StoreUnavailableError: Redis or PostgreSQL is out of reach; all of it is still there.

        """
        check_id(conversation_id)
        async with self._database.transaction() as connection:
            await users.keep(connection, [user_id])
            await conversations.lock(connection, conversation_id, user_id=user_id)
            running = await accepted_jobs.find_in_conversation(connection, conversation_id)
            replied = await messages.job_ids(connection, conversation_id)
            if running:
                await self._canceller.cancel(running, user_id=user_id)
            await self._erase([*replied, *([running] if running else ())])
            await jobs.forget_answers_of(connection, replied)
            await conversations.remove(connection, conversation_id)

    async def _erase(self, job_ids: list[str]) -> None:
        try:
            await self._erasure.erase_jobs(job_ids)
        except RedisError as error:
            raise StoreUnavailableError(
                "Jobs are out of reach just now.", retry_after_s=RETRY_WITHOUT_REDIS_S
            ) from error
