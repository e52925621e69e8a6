"""What is said is stored with its job, the reply with the job's end; of a conversation that is gone, nothing is."""

import asyncio
from typing import Any

import pytest
from msgspec import structs

from shared.database import accepted_jobs, conversations, jobs, messages, turns, users
from shared.database.engine import Database
from shared.database.jobs import FinishedJob
from shared.database.messages import Message, MessageStatus, NewMessage, decode_parts
from shared.database.turns import Turn
from shared.database.users import Role, User
from shared.errors import ConversationBusyError, ConversationFullError, NotFoundError
from shared.ids import new_id
from shared.jobs import Job, JobStatus
from tests.finished_jobs import ended
from tests.jobs import make_job


@pytest.fixture
async def conversation(database: Database, ada: User) -> str:
    async with database.transaction() as connection:
        made = await conversations.create(connection, ada.id, title=None)
    assert made is not None
    return made.id


def turn(conversation: str, user: User, *, after: int = 0, **changes: Any) -> Turn:  # noqa: ANN401
    said = [NewMessage("user", "Begin.", None)]
    return structs.replace(Turn(conversation, user.id, after, "Begin.", said, is_too_long=False), **changes)


async def begin(database: Database, conversation: str, user: User, **changes: Any) -> Job:  # noqa: ANN401
    """Store a turn and accept its job."""
    job = make_job(user=user.id, conversation_id=conversation)
    async with database.transaction() as connection:
        await turns.begin(connection, turn(conversation, user, **changes))
        assert await accepted_jobs.accept(connection, job, queue_timeout_ms=1, idempotency=None)
    return job


async def end(database: Database, *rows: FinishedJob) -> set[str]:
    async with database.transaction() as connection:
        return await turns.end(connection, rows)


async def said(database: Database, conversation: str) -> list[Message]:
    async with database.transaction() as connection:
        return await messages.history(connection, conversation)


async def answer_of(database: Database, job: Job) -> str | None:
    async with database.transaction() as connection:
        found = await jobs.find(connection, job.id)
    assert found is not None
    return found.answer


async def remove(database: Database, conversation: str) -> None:
    async with database.transaction() as connection:
        await conversations.remove(connection, conversation)


async def test_what_is_said_and_what_is_replied_stand_in_order(
    database: Database, ada: User, conversation: str
) -> None:
    first = await begin(database, conversation, ada)
    assert await end(database, ended(first)) == set()
    second = await begin(database, conversation, ada, after=2)
    await end(database, ended(second, "Twice.", status=JobStatus.EXPIRED, error_code="expired"))

    stored = await said(database, conversation)
    assert [(each.position, each.role, each.content, each.status, each.job_id) for each in stored] == [
        (1, "user", "Begin.", MessageStatus.COMPLETE, None),
        (2, "assistant", "Once.", MessageStatus.COMPLETE, first.id),
        (3, "user", "Begin.", MessageStatus.COMPLETE, None),
        (4, "assistant", "Twice.", MessageStatus.FAILED, second.id),
    ]
    assert (decode_parts(stored[1].parts).thinking, stored[3].error_code) == ("Hm.", "expired")


async def test_an_end_that_is_stored_twice_is_one_reply(database: Database, ada: User, conversation: str) -> None:
    job = await begin(database, conversation, ada)
    for _ in range(2):
        assert await end(database, ended(job), ended(job)) == set()
    assert [each.content for each in await said(database, conversation)] == ["Begin.", "Once."]


async def test_a_job_that_was_done_again_has_replied_what_it_said_last(
    database: Database, ada: User, conversation: str
) -> None:
    job = await begin(database, conversation, ada)
    await end(database, ended(job, "Untold.", epoch=1))
    other = await begin(database, conversation, ada, after=2)
    for epoch, content in ((3, "Told."), (2, "Late.")):
        assert await end(database, ended(job, content, epoch=epoch)) == set()
    await end(database, ended(other, "Next."))
    assert [each.content for each in await said(database, conversation)] == ["Begin.", "Told.", "Begin.", "Next."]


async def test_many_turns_at_once_are_one(database: Database, ada: User, conversation: str) -> None:
    results = await asyncio.gather(*(begin(database, conversation, ada) for _ in range(8)), return_exceptions=True)
    assert [type(result) for result in results if not isinstance(result, Job)] == [ConversationBusyError] * 7
    assert len(await said(database, conversation)) == 1


async def test_more_was_said_since_the_history_was_read(database: Database, ada: User, conversation: str) -> None:
    await end(database, ended(await begin(database, conversation, ada)))
    with pytest.raises(ConversationBusyError):
        await begin(database, conversation, ada, after=0)


async def test_a_conversation_that_is_full_stays_as_it_is(database: Database, ada: User, conversation: str) -> None:
    with pytest.raises(ConversationFullError):
        await begin(database, conversation, ada, is_too_long=True)
    assert await said(database, conversation) == []


async def test_nothing_is_said_in_somebody_elses(database: Database, conversation: str) -> None:
    async with database.transaction() as connection:
        bob = await users.create(connection, email="bob@example.org", password_hash="-", role=Role.USER)
    with pytest.raises(NotFoundError):
        await begin(database, conversation, bob)


async def test_a_conversation_is_free_again_when_its_job_was_not_accepted(
    database: Database, ada: User, conversation: str
) -> None:
    async with database.transaction() as connection:
        await turns.begin(connection, turn(conversation, ada))
        await connection.rollback()
    await begin(database, conversation, ada)


async def test_nobody_wants_the_answer_of_a_conversation_that_is_gone(
    database: Database, ada: User, conversation: str
) -> None:
    job = await begin(database, conversation, ada)
    await remove(database, conversation)
    for _ in range(2):
        assert await end(database, ended(job)) == {job.id}
        assert await answer_of(database, job) is None
    assert await said(database, conversation) == []


async def test_nobody_wants_the_answer_of_a_user_who_is_gone(database: Database, ada: User, conversation: str) -> None:
    job = await begin(database, conversation, ada)
    async with database.transaction() as connection:
        await connection.exec_driver_sql("DELETE FROM users")
    assert await end(database, ended(job)) == {job.id}


async def test_answers_without_conversation_are_kept_whatever_is_beside_them(
    database: Database, ada: User, conversation: str
) -> None:
    deleted = await begin(database, conversation, ada)
    await remove(database, conversation)
    plain = make_job(user=ada.id, is_durable=True)
    async with database.transaction() as connection:
        await accepted_jobs.accept(connection, plain, queue_timeout_ms=1, idempotency=None)
    attached = ended(make_job(user=ada.id), is_durable=False, answer=None)

    assert await end(database, ended(deleted), ended(plain), attached) == {deleted.id}
    assert await answer_of(database, plain) is not None


async def test_whoever_ends_and_deletes_at_once_waits_for_nobody_for_ever(database: Database, ada: User) -> None:
    """Ends, turns, deletions of conversations and of their user lock in one order: none is a deadlock."""

    async def remove_locked(id_: str) -> None:
        async with database.transaction() as connection:
            await users.keep(connection, [ada.id])
            await conversations.lock(connection, id_, user_id=ada.id)
            await jobs.forget_answers_of(connection, await messages.job_ids(connection, id_))
            await conversations.remove(connection, id_)

    async def remove_user() -> None:
        async with database.transaction() as connection:
            await connection.exec_driver_sql("DELETE FROM users")

    made: list[tuple[str, Job]] = []
    for _ in range(8):
        async with database.transaction() as connection:
            each = await conversations.create(connection, ada.id, title=None)
        assert each is not None
        made.append((each.id, await begin(database, each.id, ada)))
    rows = [ended(job) for _, job in made]
    work = [
        end(database, *rows),
        end(database, *reversed(rows)),
        *(remove_locked(id_) for id_, _ in made[:4]),
        *(begin(database, id_, ada, after=2) for id_, _ in made[4:]),
        remove_user(),
        end(database, *rows),
    ]
    results = await asyncio.gather(*work, return_exceptions=True)
    assert {type(result) for result in results} <= {type(None), set, Job, NotFoundError, ConversationBusyError}


async def test_a_user_who_is_gone_begins_no_conversation(database: Database) -> None:
    async with database.transaction() as connection:
        assert await conversations.create(connection, new_id(), title=None) is None
