"""arq as worker/job_worker.py takes it to be, and what our worker does with it."""

import asyncio
import inspect
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

import pytest
from arq.connections import ArqRedis
from arq.constants import job_key_prefix, retry_key_prefix
from arq.jobs import deserialize_job_raw
from arq.worker import Worker, func
from redis.asyncio import Redis

from shared import ids, redis_keys
from shared.errors import JobCancelledError
from shared.events import EventKind, Usage
from shared.job_queue import Claim, JobQueue
from shared.jobs import Job, JobStatus
from shared.redis_client import connect
from shared.token_log import FencedError, TokenLogWriter
from tests.faults.proxy import FaultProxy
from tests.jobs import MODEL, RETENTION_MS, admit, claim_next, log_of, make_job, state_of, writing
from tests.limits import reserving, spent
from tests.listening import overhearing
from tests.snapshot import Snapshot
from tests.waiting import wait_until
from worker.circuit_breaker import CircuitBreaker
from worker.envelopes import Envelopes
from worker.job_in_hand import JobInHand, JobInterruptedError
from worker.job_worker import POLL_S, JobWorker
from worker.ollama import Ollama
from worker.settings import OllamaSettings
from worker.slots import Slots

HANG_S = 20.0  # a limit for hanging, not an expectation
OTHER_MODEL = "other:latest"
STARTED = (EventKind.STARTED.value, b"{}")
PIECE = (EventKind.CHUNK.value, b"{}")


class Script:
    """Runs jobs as the test says: each goes on until it is told how to end, or is stopped."""

    def __init__(self) -> None:
        self.running: list[JobInHand] = []
        self.stopped: list[tuple[JobInHand, type[Exception]]] = []  # why a job was parted with
        self.ended: list[JobInHand] = []  # as the worker tells it
        self._begun: asyncio.Queue[JobInHand] = asyncio.Queue()
        self._ends: dict[JobInHand, asyncio.Future[JobStatus | None]] = {}

    async def __call__(self, job: JobInHand) -> JobStatus | None:
        end: asyncio.Future[JobStatus | None] = asyncio.get_running_loop().create_future()
        self._ends[job] = end
        self.running.append(job)
        self._begun.put_nowait(job)
        try:
            async with job.limits():
                return await end
        except JobCancelledError as error:
            return job.end_with(error)
        except (FencedError, JobInterruptedError) as error:
            self.stopped.append((job, type(error)))
            return None
        finally:
            self.running.remove(job)

    async def next(self) -> JobInHand:
        """Return the next job that begins."""
        async with asyncio.timeout(HANG_S):
            return await self._begun.get()

    def complete(self, job: JobInHand) -> None:
        """Have a job end with its whole answer."""
        self.end_as(job, JobStatus.COMPLETED)

    def end_as(self, job: JobInHand, outcome: JobStatus) -> None:
        """Have a job end with this outcome."""
        job.log.append(EventKind.DONE.value if outcome is JobStatus.COMPLETED else EventKind.ERROR.value, b"{}")
        self._ends[job].set_result(outcome)

    def put_back(self, job: JobInHand) -> None:
        """Have a job not end here."""
        self._ends[job].set_result(None)

    def crash(self, job: JobInHand) -> None:
        """Have a bug end a job."""
        self._ends[job].set_exception(ZeroDivisionError("a bug"))


@pytest.fixture
def script() -> Script:
    return Script()


def job_worker(
    queue: JobQueue,
    logs: TokenLogWriter,
    script: Script,
    *,
    per_model: int = 4,
    in_all: int = 8,
    worker_id: str = "w1",
    breaker: CircuitBreaker | None = None,
) -> JobWorker:
    worker = JobWorker(
        queue=queue,
        logs=logs,
        slots=Slots(per_model=per_model, in_all=in_all),
        breaker=breaker or CircuitBreaker(Ollama("http://127.0.0.1:1"), OllamaSettings()),
        worker_id=worker_id,
        worker_name="gpu-1",
        run=script,
        ended=script.ended.append,
    )
    worker.models = frozenset({MODEL, OTHER_MODEL})
    return worker


@asynccontextmanager
async def at_work(
    redis: Redis,
    queue: JobQueue,
    script: Script,
    **options: Any,  # noqa: ANN401  see job_worker
) -> AsyncGenerator[JobWorker]:
    """A worker at work inside the block; at its end jobs that still run are put back."""
    async with writing(redis) as logs:
        worker = job_worker(queue, logs, script, **options)
        task = asyncio.create_task(worker.main())
        try:
            yield worker
        finally:
            await worker.drain(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def until_status(redis: Redis, job: Job, status: JobStatus) -> dict[str, str]:
    """Return a job's state when it has a status."""

    async def state_with_status() -> dict[str, str] | None:
        state = await state_of(redis, job)
        return state if state.get("status") == status else None

    state = await wait_until(state_with_status, description=f"the job is {status}")
    assert state is not None
    return state


async def claim_as_soon_as_the_lease_has_ended(redis: Redis, job: Job) -> Claim:
    """Have another worker claim a job that runs."""
    queue = JobQueue(redis)
    while not (claims := await queue.claim("w2", {job.model: 1}, limit=1)):
        pass
    (claim,) = claims
    assert claim.job == job
    return claim


class StockWorker(Worker):
    """arq's worker, set up as ours is; it runs jobs and leaves their end to others."""

    def __init__(self, pool: ArqRedis) -> None:
        super().__init__(
            [func(self._run_function, name="run")],
            redis_pool=pool,
            handle_signals=False,
            keep_result=0,
            log_results=False,
            max_tries=1_000_000,
            allow_abort_jobs=False,
        )
        self.arguments: list[Any] = []

    async def _run_function(self, ctx: dict[Any, Any], *arguments: object) -> None:
        del ctx
        self.arguments += arguments

    async def finish_job(  # pyright: ignore[reportIncompatibleMethodOverride]  as ours
        self, *_: object
    ) -> None:
        pass


class TestArq:
    """Each failure here means: read what another arq does, then docs/decisions/0003-arq-asks-memory.md."""

    def test_is_the_version_that_was_read(self) -> None:
        assert version("arq") == "0.28.0"

    async def test_asks_redis_one_question_about_a_job_and_no_other(self, redis: Redis, redis_url: str) -> None:
        async with ArqRedis.from_url(redis_url) as pool:
            worker = StockWorker(pool)
            await pool.enqueue_job("run", "the argument", _job_id="1")
            async with overhearing(redis) as hear:
                await worker.run_job("1", 0)
                asked = await hear()

        assert worker.arguments == ["the argument"]
        assert asked == ["MULTI", "GET arq:job:1", "INCRBY arq:retry:1 1", "EXPIRE arq:retry:1 88400", "EXEC"]

    async def test_is_answered_from_memory_as_redis_answers(self, redis_url: str) -> None:
        job_id = ids.new_id()

        async def answers(pool: ArqRedis) -> list[Any]:
            async with pool.pipeline(transaction=True) as question:
                question.get(job_key_prefix + job_id)
                question.incr(retry_key_prefix + job_id)
                question.expire(retry_key_prefix + job_id, 88400)
                return list(await question.execute())

        async with ArqRedis.from_url(redis_url) as pool:
            await pool.set(job_key_prefix + job_id, b"an envelope")
            by_redis = await answers(pool)
        from_memory = await answers(Envelopes())

        assert [type(answer) for answer in from_memory] == [type(answer) for answer in by_redis]
        assert from_memory[1:] == by_redis[1:]
        function, arguments, named, tries, enqueued_ms = deserialize_job_raw(
            from_memory[0], deserializer=Envelopes.decode
        )
        assert (function, arguments, named, tries) == (Envelopes.FUNCTION_NAME, (job_id,), {}, None)
        assert enqueued_ms == ids.created_ms(job_id)

    def test_speaks_to_redis_where_we_override_it_or_never_go_and_in_run_job(self) -> None:
        speaks = {
            name
            for name, method in vars(Worker).items()
            if inspect.isfunction(method) and {"pool", "_pool"} & set(method.__code__.co_names)
        }
        assert speaks - set(vars(JobWorker)) == {
            "run_job",  # asks the one question
            "start_jobs",  # of arq's own `_poll_iteration`
            "_cancel_aborted_jobs",  # the same
            "run_cron",  # of arq's own `heart_beat`
            "run_check",  # for arq's own tests
        }

    @pytest.mark.parametrize(
        ("method", "parameters"),
        [
            ("main", []),
            ("_poll_iteration", []),
            (
                "finish_job",
                [
                    "job_id",
                    "finish",
                    "result_data",
                    "result_timeout_s",
                    "keep_result_forever",
                    "incr_score",
                    "keep_in_progress",
                ],
            ),
            ("finish_failed_job", ["job_id", "result_data"]),
            ("heart_beat", []),
            ("record_health", []),
            ("close", []),
        ],
    )
    def test_has_what_we_override(self, method: str, parameters: list[str]) -> None:
        theirs, ours = (getattr(class_, method) for class_ in (Worker, JobWorker))

        assert ours is not theirs
        assert inspect.iscoroutinefunction(theirs)
        assert list(inspect.signature(theirs).parameters) == ["self", *parameters]
        inspect.signature(ours).bind("self", *parameters)

    def test_has_nothing_else_that_we_override(self) -> None:
        assert {name for name in vars(JobWorker) if name in vars(Worker) and not name.startswith("__")} == {
            "main",
            "_poll_iteration",
            "finish_job",
            "finish_failed_job",
            "heart_beat",
            "record_health",
            "close",
        }

    async def test_has_what_we_use(self, redis: Redis, queue: JobQueue, script: Script) -> None:
        worker = job_worker(queue, TokenLogWriter(redis), script, in_all=8)

        assert list(inspect.signature(Worker.run_job).parameters) == ["self", "job_id", "score"]
        assert worker.allow_pick_jobs is True
        assert (worker.tasks, worker.job_tasks, worker.job_counter) == ({}, {}, 0)
        assert worker.loop is asyncio.get_running_loop()
        for _ in range(9):  # one more than there are slots, so that claiming never waits for it
            assert not worker.sem.locked()
            await worker.sem.acquire()
        assert worker.sem.locked()
        worker._release_sem_dec_counter_on_complete()  # pyright: ignore[reportPrivateUsage]
        assert not worker.sem.locked()
        assert worker.job_counter == -1

    async def test_keeps_books_of_what_runs(self, redis: Redis, queue: JobQueue, script: Script) -> None:
        async with at_work(redis, queue, script) as worker:
            await admit(queue)
            job = await script.next()
            job_id = job.claim.job.id
            assert (set(worker.tasks), set(worker.job_tasks), worker.job_counter) == ({job_id}, {job_id}, 1)

            script.complete(job)
            await wait_until(lambda: not worker.in_hand(), description="the job has ended")
            assert (worker.tasks, worker.job_tasks, worker.job_counter) == ({}, {}, 0)

    async def test_leaves_nothing_of_its_own_in_redis_and_no_question_in_the_log(
        self, redis: Redis, queue: JobQueue, script: Script, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.DEBUG):
            async with at_work(redis, queue, script):
                job = await admit(queue, make_job(request=b"what was asked"))
                script.complete(await script.next())
                await until_status(redis, job, JobStatus.COMPLETED)

        assert await redis.keys("arq:*") == []
        logged = [record.getMessage() for record in caplog.records if record.name == "arq.worker"]
        assert any(job.id in message for message in logged)
        assert "what was asked" not in caplog.text


class TestClaiming:
    async def test_happens_at_once_when_the_worker_is_woken(
        self, redis: Redis, queue: JobQueue, script: Script
    ) -> None:
        jobs = 20
        async with at_work(redis, queue, script) as worker:
            began_s = worker.loop.time()
            for _ in range(jobs):
                await admit(queue)
                worker.wake()
                script.complete(await script.next())
                await wait_until(lambda: not worker.in_hand(), description="the job has ended")

            assert worker.loop.time() - began_s < jobs * POLL_S / 2

    async def test_happens_at_once_when_a_slot_is_free_again(
        self, redis: Redis, queue: JobQueue, script: Script
    ) -> None:
        jobs = 20
        for _ in range(jobs):
            await admit(queue)
        async with at_work(redis, queue, script, per_model=1, in_all=1) as worker:
            began_s = worker.loop.time()
            for _ in range(jobs):
                script.complete(await script.next())

            assert worker.loop.time() - began_s < jobs * POLL_S / 2

    async def test_happens_also_when_nobody_wakes_the_worker(
        self, redis: Redis, queue: JobQueue, script: Script
    ) -> None:
        async with at_work(redis, queue, script):
            for _ in range(2):
                job = await admit(queue)
                assert (await script.next()).claim.job == job

    async def test_keeps_to_the_slots_per_model_and_in_all(self, redis: Redis, queue: JobQueue, script: Script) -> None:
        for _ in range(5):
            for model in (MODEL, OTHER_MODEL):
                await admit(queue, make_job(model=model))
        async with at_work(redis, queue, script, per_model=2, in_all=3) as worker:
            await wait_until(lambda: len(script.running) == 3, description="all slots are taken")
            for _ in range(10):
                begun = await script.next()
                assert len(worker.in_hand()) <= 3
                assert max(models_of(script.running).values()) <= 2
                script.complete(begun)

    async def test_survives_an_outage(
        self, redis: Redis, wire: FaultProxy, queue: JobQueue, script: Script, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with connect(wire.url, role="test") as wired, at_work(redis, JobQueue(wired), script):
            wire.cut()
            await wait_until(lambda: "claim_failed" in caplog.messages, description="the outage is noticed")
            job = await admit(queue)
            wire.mend()

            assert (await script.next()).claim.job == job

    async def test_says_whether_the_model_is_loaded(self, redis: Redis, queue: JobQueue, script: Script) -> None:
        async with at_work(redis, queue, script) as worker:
            worker.loaded = frozenset({MODEL})
            for model in (MODEL, OTHER_MODEL):
                await admit(queue, make_job(model=model))
                assert (await script.next()).is_loaded == (model == MODEL)


def models_of(jobs: Iterable[JobInHand]) -> Counter[str]:
    return Counter(job.claim.job.model for job in jobs)


class TestAJobThatEnds:
    async def test_is_finished_with_its_terminal_event_in_one_pipeline(
        self, redis: Redis, queue: JobQueue, script: Script
    ) -> None:
        async with at_work(redis, queue, script):
            job = await admit(queue)
            in_hand = await script.next()
            async with overhearing(redis) as hear:
                script.complete(in_hand)
                state = await until_status(redis, job, JobStatus.COMPLETED)
                heard = await hear()
            await wait_until(lambda: script.ended, description="the end is told")

        (written,) = [index for index, command in enumerate(heard) if command.startswith(f"XADD ds:log:{job.id} ")]
        assert [command.split()[0] for command in heard[written : written + 3]] == ["XADD", "PUBLISH", "EVALSHA"]
        assert [event.kind for event in await log_of(redis, job)] == [EventKind.DONE.value]
        assert script.ended == [in_hand]
        assert int(state["epoch"]) == in_hand.claim.epoch
        assert await redis.zcard(redis_keys.RUNNING + MODEL) == 0
        assert 0 < await redis.pttl(redis_keys.LOG + job.id) <= RETENTION_MS

    async def test_has_its_owner_pay_for_the_tokens_that_ollama_counted(
        self, redis: Redis, queue: JobQueue, script: Script
    ) -> None:
        demand = reserving(100)
        await admit(queue, demand=demand)
        async with at_work(redis, queue, script):
            job = await script.next()
            job.log.append(*STARTED)
            job.usage = Usage(prompt_tokens=30, completion_tokens=12)
            script.complete(job)
            await until_status(redis, job.claim.job, JobStatus.COMPLETED)

        assert await spent(redis, *demand.tokens) == 42

    async def test_before_its_answer_was_whole_has_its_owner_pay_for_what_there_was(
        self, redis: Redis, queue: JobQueue, script: Script
    ) -> None:
        demand = reserving(100, prompt=20)
        await admit(queue, demand=demand)
        async with at_work(redis, queue, script) as worker:
            job = await script.next()
            for event in (STARTED, PIECE, PIECE):
                job.log.append(*event)
            worker.stop_job(job.claim.job.id, JobCancelledError.code)
            await until_status(redis, job.claim.job, JobStatus.CANCELLED)

        assert await spent(redis, *demand.tokens) == 22

    @pytest.mark.parametrize(("outcome", "count"), [(JobStatus.COMPLETED, 42), (JobStatus.FAILED, 21)])
    async def test_and_is_durable_has_its_owner_pay_before_its_end_is_stored(
        self, redis: Redis, queue: JobQueue, script: Script, outcome: JobStatus, count: int
    ) -> None:
        demand = reserving(100, prompt=20)
        await admit(queue, make_job(is_durable=True), demand=demand)
        async with at_work(redis, queue, script):
            job = await script.next()
            for event in (STARTED, PIECE):
                job.log.append(*event)
            job.usage = Usage(prompt_tokens=30, completion_tokens=12)
            script.end_as(job, outcome)

            async def has_left() -> bool:
                return await redis.zcard(redis_keys.UNSTORED) == 1

            await wait_until(has_left, description="the worker has left the job to a gateway")

        assert await spent(redis, *demand.tokens) == count

    async def test_because_it_was_stopped_is_finished_as_that(
        self, redis: Redis, queue: JobQueue, script: Script
    ) -> None:
        async with at_work(redis, queue, script) as worker:
            job = await admit(queue)
            await script.next()
            worker.stop_job(ids.new_id(), "cancelled")  # of which it knows nothing
            worker.stop_job(job.id, "cancelled")

            await until_status(redis, job, JobStatus.CANCELLED)
        assert [event.kind for event in await log_of(redis, job)] == [EventKind.ERROR.value]

    async def test_is_stopped_at_a_heartbeat_if_the_message_was_lost(
        self, redis: Redis, queue: JobQueue, script: Script
    ) -> None:
        async with at_work(redis, queue, script):
            job = await admit(queue)
            await script.next()
            await queue.stop(job.id, error=JobCancelledError(""), status=JobStatus.CANCELLED)

            await until_status(redis, job, JobStatus.CANCELLED)

    async def test_by_a_bug_is_logged_told_and_frees_its_slot(
        self, redis: Redis, queue: JobQueue, script: Script, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It is not tried again, which would be for ever."""
        crashed, job = await admit(queue), await admit(queue)
        async with at_work(redis, queue, script, per_model=1, in_all=1):
            script.crash(await script.next())
            assert (await script.next()).claim.job == job
            await until_status(redis, crashed, JobStatus.FAILED)

        assert [event.kind for event in await log_of(redis, crashed)] == [EventKind.ERROR.value]
        assert any(record.exc_info and record.exc_info[0] is ZeroDivisionError for record in caplog.records)

    async def test_because_arq_does_not_start_it_is_told(self, redis: Redis, queue: JobQueue, script: Script) -> None:
        job = await admit(queue)
        async with at_work(redis, queue, script) as worker:
            worker.functions.clear()

            await until_status(redis, job, JobStatus.FAILED)
            await wait_until(lambda: not worker.in_hand(), description="the slot is free")
        assert [event.kind for event in await log_of(redis, job)] == [EventKind.ERROR.value]


class TestAJobThatDoesNotEndHere:
    async def test_is_put_back_without_a_spent_attempt(self, redis: Redis, queue: JobQueue, script: Script) -> None:
        await admit(queue)
        async with at_work(redis, queue, script):
            first = await script.next()
            script.put_back(first)
            again = await script.next()

        assert again.claim.job == first.claim.job
        assert again.claim.epoch > first.claim.epoch
        assert (first.claim.failures, again.claim.failures) == (0, 0)
        assert script.ended == []

    async def test_is_put_back_when_redis_is_there_again(
        self, redis: Redis, wire: FaultProxy, queue: JobQueue, script: Script, caplog: pytest.LogCaptureFixture
    ) -> None:
        job = await admit(queue)
        async with connect(wire.url, role="test") as wired, at_work(redis, JobQueue(wired), script) as worker:
            in_hand = await script.next()
            worker.allow_pick_jobs = False
            wire.cut()
            script.put_back(in_hand)
            await wait_until(lambda: "finish_failed" in caplog.messages, description="the outage is noticed")
            assert worker.in_hand() == [in_hand]
            wire.mend()

            await until_status(redis, job, JobStatus.QUEUED)

    async def test_is_put_back_only_when_what_was_said_last_is_stored(
        self, redis: Redis, wire: FaultProxy, queue: JobQueue, script: Script, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Somebody else may claim it at once, and then the log refuses what comes."""
        job = await admit(queue)
        async with connect(wire.url, role="test") as wired, at_work(wired, queue, script) as worker:
            in_hand = await script.next()
            worker.allow_pick_jobs = False
            wire.cut()
            in_hand.log.append(EventKind.CHUNK.value, b"{}")
            script.put_back(in_hand)
            await wait_until(lambda: "log_write_failed" in caplog.messages, description="the outage is noticed")
            assert (await state_of(redis, job))["status"] == JobStatus.RUNNING
            wire.mend()

            await until_status(redis, job, JobStatus.QUEUED)
        assert [event.kind for event in await log_of(redis, job)] == [EventKind.CHUNK.value]

    async def test_because_it_was_taken_is_stopped_and_left_to_its_new_owner(
        self, redis: Redis, queue: JobQueue, script: Script
    ) -> None:
        del queue  # it sees to it that all keys expire
        short = JobQueue(redis, lease_ms=1)
        job = await admit(short)
        async with at_work(redis, short, script) as worker:
            in_hand = await script.next()
            successor = await claim_as_soon_as_the_lease_has_ended(redis, job)
            await wait_until(lambda: not worker.in_hand(), description="the worker has parted with the job")

        assert script.stopped == [(in_hand, FencedError)]
        await assert_is_held(redis, successor, failures=1)

    async def test_because_it_was_taken_is_not_finished_even_if_its_answer_is_whole(
        self, redis: Redis, queue: JobQueue, script: Script
    ) -> None:
        del queue  # it sees to it that all keys expire
        short = JobQueue(redis, lease_ms=1)
        job = await admit(short)
        async with at_work(redis, short, script) as worker:
            in_hand = await script.next()
            successor = await claim_as_soon_as_the_lease_has_ended(redis, job)
            script.complete(in_hand)
            await wait_until(lambda: not worker.in_hand(), description="the worker has parted with the job")

        assert script.ended == []
        assert await log_of(redis, job) == []
        await assert_is_held(redis, successor, failures=1)

    async def test_is_given_back_when_this_worker_claims_it_anew_and_runs_when_the_old_run_has_ended(
        self, redis: Redis, queue: JobQueue, script: Script
    ) -> None:
        """As a worker does that was frozen for long."""
        del queue  # it sees to it that all keys expire
        always_late = JobQueue(redis, lease_ms=1)
        job = await admit(always_late)
        async with at_work(redis, always_late, script):
            first = await script.next()
            again = await script.next()
            assert script.stopped[0] == (first, FencedError)
            assert script.running == [again]
            script.complete(again)
            await until_status(redis, job, JobStatus.COMPLETED)

        assert again.claim.job == job
        assert again.claim.epoch > first.claim.epoch


async def assert_is_held(redis: Redis, claim: Claim, *, failures: int) -> None:
    state = await state_of(redis, claim.job)
    assert (state["status"], state["owner"], int(state["epoch"])) == (JobStatus.RUNNING, "w2", claim.epoch)
    assert int(state["failures"]) == failures
    assert await redis.zscore(redis_keys.RUNNING + claim.job.model, claim.job.id) is not None
    assert (await JobQueue(redis).heartbeat("w2", [(claim, 0)])).answers == ["held"]


class TestAJobThatRedisHasLost:
    async def test_is_there_again_after_a_heartbeat_and_goes_on(
        self, redis: Redis, queue: JobQueue, script: Script
    ) -> None:
        job = await admit(queue)
        async with at_work(redis, queue, script):
            in_hand = await script.next()
            in_hand.log.append(EventKind.CHUNK.value, b"1")
            await in_hand.log.stored()
            before = await state_of(redis, job)
            for _ in range(2):
                await redis.flushall()
                assert await until_status(redis, job, JobStatus.RUNNING) == before
                assert await redis.zscore(redis_keys.RUNNING + MODEL, job.id) is not None
            script.complete(in_hand)
            await until_status(redis, job, JobStatus.COMPLETED)

        assert [event.payload for event in await log_of(redis, job)] == [b"1", b"{}"]
        assert script.stopped == []

    async def test_just_before_its_end_is_finished_all_the_same(
        self, redis: Redis, queue: JobQueue, script: Script
    ) -> None:
        job = await admit(queue)
        async with at_work(redis, queue, script) as worker:
            in_hand = await script.next()
            in_hand.log.append(EventKind.CHUNK.value, b"1")
            await in_hand.log.stored()
            await redis.flushall()
            script.complete(in_hand)
            await wait_until(lambda: not worker.in_hand(), description="the worker has parted with the job")

        assert (await state_of(redis, job))["status"] == JobStatus.COMPLETED
        assert [event.payload for event in await log_of(redis, job)] == [b"1", b"{}"]
        assert script.ended == [in_hand]
        assert 0 < await redis.pttl(redis_keys.LOG + job.id) <= RETENTION_MS

    async def test_of_which_a_part_is_missing_is_not_finished_before_it_is_whole(
        self, redis: Redis, queue: JobQueue, script: Script
    ) -> None:
        job = await admit(queue)
        async with at_work(redis, queue, script) as worker:
            in_hand = await script.next()
            before = await Snapshot.of(redis)
            in_hand.log.append(EventKind.CHUNK.value, b"1")
            await in_hand.log.stored()
            await before.bring_back()
            script.complete(in_hand)
            await wait_until(lambda: not worker.in_hand(), description="the worker has parted with the job")

        assert [event.payload for event in await log_of(redis, job)] == [b"1", b"{}"]

    async def test_is_put_back_all_the_same(self, redis: Redis, queue: JobQueue, script: Script) -> None:
        job = await admit(queue)
        async with at_work(redis, queue, script) as worker:
            in_hand = await script.next()
            worker.allow_pick_jobs = False
            await redis.flushall()
            script.put_back(in_hand)
            await wait_until(lambda: not worker.in_hand(), description="the worker has parted with the job")

        again = await claim_next(queue)
        assert (again.job, again.failures) == (job, 0)

    async def test_together_with_the_claim_is_not_claimed_by_another(
        self, redis: Redis, queue: JobQueue, script: Script
    ) -> None:
        """It waits in the queue again, as if nobody had it, until its owner speaks up."""
        job = await admit(queue)
        before = await Snapshot.of(redis)
        async with at_work(redis, queue, script) as worker:
            in_hand = await script.next()
            worker.allow_pick_jobs = False
            await before.bring_back()
            state = await until_status(redis, job, JobStatus.RUNNING)
            assert await queue.claim("w2", {MODEL: 1}, limit=1) == []
            script.complete(in_hand)
            await until_status(redis, job, JobStatus.COMPLETED)

        assert int(state["epoch"]) == in_hand.claim.epoch
        assert script.ended == [in_hand]

    async def test_has_time_to_be_put_back_before_others_claim_it(
        self, redis: Redis, queue: JobQueue, script: Script
    ) -> None:
        """A worker whose connection broke, as at a failover, leaves what waits to those who may have it in hand."""
        others = Script()
        job = await admit(queue)
        before = await Snapshot.of(redis)
        async with at_work(redis, queue, script) as worker:
            in_hand = await script.next()
            worker.allow_pick_jobs = False
            async with at_work(redis, queue, others, worker_id="w2") as other:
                other.hold_off()
                await before.bring_back()
                other.wake()
                await until_status(redis, job, JobStatus.RUNNING)
                after = await admit(queue)
                assert (await others.next()).claim.job == after
            script.complete(in_hand)
            await until_status(redis, job, JobStatus.COMPLETED)

        assert script.ended == [in_hand]

    async def test_and_that_another_worker_has_claimed_since_is_left_to_it(
        self, redis: Redis, queue: JobQueue, script: Script
    ) -> None:
        await admit(queue)
        before = await Snapshot.of(redis)
        async with at_work(redis, queue, script) as worker:
            in_hand = await script.next()
            await before.bring_back()
            (successor,) = await queue.claim("w2", {MODEL: 1}, limit=1)
            await wait_until(lambda: not worker.in_hand(), description="the worker has parted with the job")

        assert script.stopped == [(in_hand, FencedError)]
        await assert_is_held(redis, successor, failures=0)


async def test_a_worker_learns_that_redis_has_forgotten_it(redis: Redis, queue: JobQueue, script: Script) -> None:
    """Nobody knows then what it offers, and it says so again."""
    breaker = CircuitBreaker(Ollama("http://127.0.0.1:1"), OllamaSettings())
    async with at_work(redis, queue, script, breaker=breaker), asyncio.timeout(HANG_S):
        await breaker.news.wait()  # it has said nothing yet
        breaker.news.clear()
        await redis.flushall()
        await breaker.news.wait()


class TestDraining:
    async def test_lets_jobs_end_and_takes_nothing_new(self, redis: Redis, queue: JobQueue, script: Script) -> None:
        running, waiting = await admit(queue), await admit(queue)
        async with at_work(redis, queue, script, per_model=1) as worker:
            in_hand = await script.next()
            draining = asyncio.create_task(worker.drain(HANG_S))
            worker.wake()
            await asyncio.sleep(0)
            script.complete(in_hand)
            await draining

            assert (await state_of(redis, running))["status"] == JobStatus.COMPLETED
            assert (await state_of(redis, waiting))["status"] == JobStatus.QUEUED
            assert worker.in_hand() == []

    async def test_hands_over_what_does_not_end_in_time(self, redis: Redis, queue: JobQueue, script: Script) -> None:
        job = await admit(queue)
        async with at_work(redis, queue, script) as worker:
            in_hand = await script.next()
            await worker.drain(0.01)

            assert script.stopped == [(in_hand, JobInterruptedError)]
            assert worker.in_hand() == []
        again = await claim_next(queue)
        assert (again.job, again.failures) == (job, 0)

    async def test_can_be_cut_short(self, redis: Redis, queue: JobQueue, script: Script) -> None:
        await admit(queue)
        async with at_work(redis, queue, script) as worker:
            in_hand = await script.next()
            draining = asyncio.create_task(worker.drain(HANG_S))
            await asyncio.sleep(0)
            worker.interrupt()
            await draining

            assert script.stopped == [(in_hand, JobInterruptedError)]

    async def test_hands_over_also_what_is_just_being_claimed(
        self, redis: Redis, wire: FaultProxy, queue: JobQueue, script: Script
    ) -> None:
        """Otherwise the job waits for the end of its lease, and a deploy has cost it an attempt."""
        async with connect(wire.url, role="test") as wired, at_work(redis, JobQueue(wired), script) as worker:
            job = await admit_so_that_the_claim_goes_unanswered(queue, redis, wire, worker)
            draining = asyncio.create_task(worker.drain(0))
            await asyncio.sleep(0)
            wire.mend()
            await draining

            assert worker.in_hand() == []
            state = await state_of(redis, job)
            assert (state["status"], state["failures"]) == (JobStatus.QUEUED, "0")


async def admit_so_that_the_claim_goes_unanswered(
    queue: JobQueue, redis: Redis, wire: FaultProxy, worker: JobWorker
) -> Job:
    wire.hold_replies()
    job = await admit(queue)
    worker.wake()
    await wire.until_held()
    while (await state_of(redis, job))["status"] != JobStatus.RUNNING:  # it was the reply to something else
        wire.mend()
        wire.hold_replies()
        await wire.until_held()
    return job
