"""A model whose jobs fail one after the other rests, and comes back when it is well; nothing else does."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from shared.errors import (
    UpstreamBusyError,
    UpstreamError,
    UpstreamInterruptedError,
    UpstreamRejectedError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)
from shared.events import EventKind
from shared.jobs import Job, JobStatus
from shared.token_log import TokenLogWriter
from tests.jobs import MODEL, claim_of, make_job, open_log
from tests.ollama_double import OllamaDouble
from tests.waiting import wait_until
from worker.circuit_breaker import CircuitBreaker
from worker.job_in_hand import JobInHand
from worker.ollama import Ollama
from worker.settings import OllamaSettings

THRESHOLD = 3
OTHER_MODEL = "other:latest"
FREE = {MODEL: 4, OTHER_MODEL: 4}
OF_THE_HOST = [
    UpstreamError("500"),
    UpstreamInterruptedError("cut"),
    UpstreamUnreachableError("refused"),
    UpstreamTimeoutError("silent", phase="first_token", limit_ms=1),
]


@pytest.fixture
async def double() -> AsyncIterator[OllamaDouble]:
    async with OllamaDouble([MODEL, OTHER_MODEL]) as double:
        yield double


@pytest.fixture
async def breaker(double: OllamaDouble) -> AsyncIterator[CircuitBreaker]:
    async with Ollama(double.url) as ollama:
        breaker = CircuitBreaker(ollama, OllamaSettings(ollama_breaker_threshold=THRESHOLD, ollama_retry_delay_ms=1))
        task = asyncio.create_task(breaker.run())
        yield breaker
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Jobs:
    """Runs jobs past a breaker."""

    def __init__(self, redis: Redis, breaker: CircuitBreaker) -> None:
        self._writer = TokenLogWriter(redis)
        self._breaker = breaker

    def begin(self, job: Job | None = None) -> JobInHand:
        claim = claim_of(job or make_job())
        in_hand = JobInHand(claim, open_log(self._writer, claim), is_loaded=True)
        self._breaker.begin(in_hand)
        return in_hand

    def end(self, in_hand: JobInHand, fault: UpstreamError | None = None) -> None:
        in_hand.fault = fault
        if fault is None:
            in_hand.log.append(EventKind.DONE.value, b"{}")
            in_hand.outcome = JobStatus.COMPLETED
        self._breaker.end(in_hand)

    def fail(self, times: int = 1, fault: UpstreamError = OF_THE_HOST[0]) -> None:
        for _ in range(times):
            self.end(self.begin(), fault)


@pytest.fixture
def jobs(redis: Redis, breaker: CircuitBreaker) -> Jobs:
    return Jobs(redis, breaker)


async def until_on_trial(breaker: CircuitBreaker) -> None:
    await wait_until(lambda: not breaker.resting, description="the model is on trial")


@pytest.mark.parametrize("fault", OF_THE_HOST, ids=lambda fault: fault.code)
async def test_a_model_whose_jobs_fail_in_a_row_rests_and_others_do_not(
    breaker: CircuitBreaker, jobs: Jobs, fault: UpstreamError
) -> None:
    jobs.fail(THRESHOLD - 1, fault)
    assert breaker.limit(FREE) == FREE

    jobs.fail(1, fault)

    assert breaker.resting == {MODEL}
    assert breaker.limit(FREE) == {OTHER_MODEL: 4}
    assert breaker.news.is_set()


async def test_one_job_that_fails_over_and_over_proves_nothing(breaker: CircuitBreaker, jobs: Jobs) -> None:
    job = make_job()
    for _ in range(2 * THRESHOLD):
        jobs.end(jobs.begin(job), OF_THE_HOST[0])

    assert breaker.limit(FREE) == FREE


@pytest.mark.parametrize("well", [None, UpstreamRejectedError("400")], ids=["an answer", "a refusal"])
async def test_what_goes_well_between_failures_ends_the_row(
    breaker: CircuitBreaker, jobs: Jobs, well: UpstreamError | None
) -> None:
    for _ in range(THRESHOLD):
        jobs.fail(THRESHOLD - 1)
        jobs.end(jobs.begin(), well)

    assert breaker.limit(FREE) == FREE


async def test_a_job_that_was_stopped_proves_nothing_either_way(breaker: CircuitBreaker, jobs: Jobs) -> None:
    jobs.fail(THRESHOLD - 1)
    breaker.end(jobs.begin())
    assert breaker.limit(FREE) == FREE

    jobs.fail()
    assert breaker.resting == {MODEL}


async def test_a_busy_host_is_left_alone_for_a_while_and_offers_the_model_all_the_same(
    breaker: CircuitBreaker, jobs: Jobs
) -> None:
    jobs.fail(2 * THRESHOLD, UpstreamBusyError("503", retry_after_s=0.05))

    assert breaker.limit(FREE) == {OTHER_MODEL: 4}
    assert breaker.resting == frozenset()
    await wait_until(lambda: breaker.limit(FREE) == FREE, description="the while is over")


async def test_a_model_that_can_be_loaded_is_on_trial_until_a_job_goes_well(
    breaker: CircuitBreaker, jobs: Jobs
) -> None:
    jobs.fail(THRESHOLD)
    await until_on_trial(breaker)
    assert breaker.limit(FREE) == {MODEL: 1, OTHER_MODEL: 4}

    trial = jobs.begin()
    assert breaker.limit(FREE) == {OTHER_MODEL: 4}
    jobs.end(trial)

    assert breaker.limit(FREE) == FREE


async def test_a_trial_that_fails_is_followed_by_another_rest(breaker: CircuitBreaker, jobs: Jobs) -> None:
    jobs.fail(THRESHOLD)
    await until_on_trial(breaker)

    jobs.fail()

    assert breaker.resting == {MODEL}


async def test_a_trial_that_was_stopped_is_followed_by_another_one(breaker: CircuitBreaker, jobs: Jobs) -> None:
    jobs.fail(THRESHOLD)
    await until_on_trial(breaker)

    breaker.end(jobs.begin())

    assert breaker.limit(FREE) == {MODEL: 1, OTHER_MODEL: 4}


async def test_a_host_that_is_away_is_asked_again_until_it_is_back(
    breaker: CircuitBreaker, jobs: Jobs, double: OllamaDouble, caplog: pytest.LogCaptureFixture
) -> None:
    port = int(double.url.rpartition(":")[2])
    await double.stop()
    with caplog.at_level("INFO"):
        jobs.fail(THRESHOLD)
        await wait_until(lambda: "model_still_rests" in caplog.messages, description="it was asked in vain")
        await double.start(port)
        await until_on_trial(breaker)

    assert double.state.generations == []  # nothing was generated to find that out
