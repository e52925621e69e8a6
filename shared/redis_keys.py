"""Every Redis key and channel, built here and nowhere else.

Keys under `ds:` are ours, `arq:queue:` is where arq has its queues. Each key expires, except those of the
permanent list at the end, whose size is bounded by what they index. Job ids are validated UUIDs before they get here.

| key                     | type       | what it holds                                            | written by       |
|-------------------------|------------|----------------------------------------------------------|------------------|
| arq:queue:<model>       | sorted set | waiting job ids; score = fair virtual time               | admit, claim     |
| ds:delayed:<model>      | sorted set | job ids due later; score = due time, ms                  | requeue          |
| ds:running:<model>      | sorted set | claimed job ids; score = end of the lease, ms            | claim, heartbeat |
| ds:fair:<model>         | sorted set | users (`<id> lagging`: batches); score = end of last job | admit, claim     |
| ds:pace:<model>         | hash       | `virtual` = V; `service_ms` = smoothed hold of a slot    | claim, finish    |
| ds:payload:<id>         | string     | the job as the client sent it, msgpack (shared/jobs.py)  | admit            |
| ds:jobs:<user>          | sorted set | a user's job ids (shared/scripts/job_lists.lua)          | enqueue, settle  |
| ds:key_jobs:<key id>    | sorted set | an API key's, in the same form                           | enqueue, settle  |
| ds:job:<id>             | hash       | the job's state (shared/job_queue.py)                    | every script     |
| ds:log:<id>             | stream     | the token log (shared/token_log.py)                      | token log        |
| ds:deadlines            | sorted set | job ids not yet claimed; score = end of the wait, ms     | admit, claim     |
| ds:attended             | sorted set | job ids somebody reads; score = when to cancel, ms       | admit, attend    |
| ds:readers:<id>         | sorted set | channels of gateways with readers; score = lease end, ms | admit, attend    |
| ds:unstored             | sorted set | ids of jobs whose end PostgreSQL lacks; score = next try | leave, stop      |
| ds:ends                 | hash       | how those ended, JSON by job id (shared/ended_jobs.py)   | leave, stop      |
| ds:reserved:<model>     | sorted set | ids of jobs being stored; score = end of the hold, ms    | reserve          |
| ds:tail:<process>       | stream     | wakes that gateway's reading of logs (gateway/log_tail)  | gateways         |
| ds:models               | sorted set | models ever announced; score = last time, ms             | workers          |
| ds:workers              | sorted set | worker ids; score = end of their lease, ms               | workers          |
| ds:worker:<id>          | string     | what the worker announces, JSON (shared/registry.py)     | workers          |
| ds:model:<digest>       | string     | what Ollama knows of it (shared/model_descriptions.py)   | workers          |
| ds:limit:<scope>:<name> | string     | what is lacking of a rate (shared/scripts/bucket.lua)    | admit, settle    |
| ds:streams:<scope>:<name> | sorted set | ids of open streams; score = end of the lease, ms      | admit, gateways  |
| ds:idempotency:<digest> | string     | job id and fingerprint (shared/idempotency.py)           | admit, stop      |
| ds:revoked:<credential> | string     | that it is let in no more (shared/revocations.py)        | gateways         |
| ds:failures:<party>     | hash       | failed attempts to log in, and when (scripts/failures)   | attempt, settle  |
| ds:familiar:<party>     | string     | an account's password was right from that address        | settle           |
"""

WAITING = "arq:queue:"
DELAYED = "ds:delayed:"
RUNNING = "ds:running:"
FAIR = "ds:fair:"
PACE = "ds:pace:"
PAYLOAD = "ds:payload:"
JOB = "ds:job:"
JOBS = "ds:jobs:"
KEY_JOBS = "ds:key_jobs:"
LOG = "ds:log:"
DEADLINES = "ds:deadlines"
ATTENDED = "ds:attended"
READERS = "ds:readers:"
UNSTORED = "ds:unstored"
ENDS = "ds:ends"
RESERVED = "ds:reserved:"
MODELS = "ds:models"
WORKERS = "ds:workers"
WORKER = "ds:worker:"
MODEL = "ds:model:"
LIMIT = "ds:limit:"
STREAMS = "ds:streams:"
IDEMPOTENCY = "ds:idempotency:"
REVOKED = "ds:revoked:"
FAILURES = "ds:failures:"
FAMILIAR = "ds:familiar:"

PERMANENT_PREFIXES = (WAITING, DELAYED, RUNNING, FAIR, PACE, DEADLINES, ATTENDED, UNSTORED, ENDS, MODELS, WORKERS)

ENDS_CHANNEL = "ds:unstored"  # says that a durable job has ended, and who hears of it waits until that is stored
REVOCATIONS_CHANNEL = "ds:revocations"  # names credentials that are let in no more
REGISTRY_CHANNEL = "ds:registry"  # says that a worker came, went or changed what it announces


def limit(scope: str, name: str) -> str:
    """Return the key of one rate limit, for example `limit("user", user_id)`."""
    return f"{LIMIT}{scope}:{name}"


def streams(scope: str, name: str) -> str:
    """Return the key of somebody's open streams, for example `streams("user", user_id)`."""
    return f"{STREAMS}{scope}:{name}"


def job_lists(user_id: str, api_key_id: str | None) -> list[str]:
    """Return the keys of the lists that a job is on: its user's, and its API key's if it was asked for with one."""
    return [JOBS + user_id, *([KEY_JOBS + api_key_id] if api_key_id else ())]


def idempotency(digest: str) -> str:
    """Return the key under which a client's idempotency key is known by its digest."""
    return IDEMPOTENCY + digest


def gateway_channel(process: str) -> str:
    """Return the channel on which one gateway process hears of the jobs it relays."""
    return f"ds:gateway:{process}"


def tail_key(process: str) -> str:
    """Return the stream whose entries wake one gateway process that waits for news in logs."""
    return f"ds:tail:{process}"


def wake_channel(model: str) -> str:
    """Return the channel that wakes the workers of a model when a job is enqueued."""
    return f"ds:wake:{model}"


def control_channel(worker: str) -> str:
    """Return the channel on which one worker is told to stop a job."""
    return f"ds:control:{worker}"
