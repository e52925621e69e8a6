"""Puts a worker together, runs it until a signal, and drains it."""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from functools import partial

from shared import ids
from shared.database import engine
from shared.garbage import collect_rarely
from shared.job_queue import JobQueue
from shared.redis_client import connect
from shared.settings import DatabaseSettings, RedisSettings
from shared.token_log import TokenLogWriter
from worker.announcer import Announcer
from worker.circuit_breaker import CircuitBreaker
from worker.describer import Describer
from worker.generate_reply import Author, generate_reply
from worker.job_worker import JobWorker
from worker.ledger import Ledger
from worker.mailbox import Mailbox
from worker.ollama import Ollama
from worker.settings import OllamaSettings, WorkerSettings
from worker.slots import Slots

_log = logging.getLogger(__name__)


async def work(
    *,
    redis_settings: RedisSettings,
    database_settings: DatabaseSettings,
    ollama_settings: OllamaSettings,
    settings: WorkerSettings,
) -> None:
    """Serve jobs until SIGTERM or SIGINT, then drain; a second signal hands over at once what still runs."""
    worker_id = ids.new_id()
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(connect(redis_settings.redis_url, role="worker"))
        writing = await stack.enter_async_context(
            connect(redis_settings.redis_url, role="worker-log", read_timeout_s=None)
        )
        listening = await stack.enter_async_context(
            connect(redis_settings.redis_url, role="worker-mailbox", read_timeout_s=None)
        )
        database = engine.connect(database_settings.database_url, role="worker")
        stack.push_async_callback(database.close)
        ollama = await stack.enter_async_context(Ollama(ollama_settings.ollama_base_url))
        queue, logs = JobQueue(redis), TokenLogWriter(writing)
        slots = Slots(per_model=settings.worker_slots, in_all=settings.worker_max_jobs)
        breaker = CircuitBreaker(ollama, ollama_settings)
        name = f"{socket.gethostname()}-{os.getpid()}"
        ledger = Ledger(database, worker_name=name)
        author = Author(
            worker_name=name,
            ollama=ollama,
            settings=ollama_settings,
        )
        worker = JobWorker(
            queue=queue,
            logs=logs,
            slots=slots,
            breaker=breaker,
            worker_id=worker_id,
            worker_name=name,
            run=partial(generate_reply, author),
            ended=ledger.enter,
        )
        mailbox = Mailbox(listening, worker, worker_id)
        describer = Describer(redis=redis, ollama=ollama)
        announcer = Announcer(
            redis=redis,
            ollama=ollama,
            worker=worker,
            mailbox=mailbox,
            slots=slots,
            breaker=breaker,
            describer=describer,
            worker_id=worker_id,
        )
        await mailbox.listen_for([])
        stop = _on_signals(worker)
        async with asyncio.TaskGroup() as tasks:
            background = [
                tasks.create_task(vital(endless), name=name)
                for name, endless in (
                    ("log", logs.run()),
                    ("mailbox", mailbox.run()),
                    ("announcer", announcer.run()),
                    ("describer", describer.run()),
                    ("ledger", ledger.run()),
                    ("breaker", breaker.run()),
                    ("claims", worker.main()),
                )
            ]
            collect_rarely()
            _log.info("worker_started", extra={"worker": worker_id, "worker_name": name, "pid": os.getpid()})
            await stop.wait()
            worker.allow_pick_jobs = False
            _log.info("worker_draining", extra={"jobs": len(worker.in_hand())})
            await announcer.announce()
            await worker.drain(settings.worker_drain_secs)
            await announcer.withdraw()
            await ledger.write()
            for task in background:
                task.cancel()
    _log.info("worker_stopped")


async def vital(endless: Awaitable[None]) -> None:
    """Run what the worker cannot live without: when it fails, the process ends at once.

    As if it were killed, since an end in order waits for tasks which, after a fault that nobody foresaw, may not take
    their cancellation; a worker that hangs there holds on to its models and is started again by nobody. Others take its
    jobs over when their leases end.
    """
    try:
        await endless
    except Exception:  # noqa: BLE001  whatever it is
        _log.exception("worker_crashed")
        os._exit(os.EX_SOFTWARE)


def _on_signals(worker: JobWorker) -> asyncio.Event:
    """Return an event that the first SIGTERM or SIGINT sets; the second one cuts short what still runs."""
    stop = asyncio.Event()

    def receive() -> None:
        if stop.is_set():
            worker.interrupt()
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, receive)
    return stop
