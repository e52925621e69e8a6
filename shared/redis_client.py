"""Makes Redis clients by role, so that every connection has a name and deadlines fit for what it does."""

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

COMMAND_TIMEOUT_S = 1.5  # that Redis is down must be told to a client in under 2 s
CONNECT_TIMEOUT_S = 1.0
MAX_CONNECTIONS = 512  # one per command in flight


def connect(url: str, *, role: str, read_timeout_s: float | None = COMMAND_TIMEOUT_S) -> Redis:
    """Return a client that connects at first use and answers bytes.

    A command is not repeated on a broken connection: most of ours are scripts that must not run twice unnoticed.

    Args:
        url: `redis://`, `rediss://` or `unix://`.
        role: What shows up in `CLIENT LIST`, for example `gateway`.
        read_timeout_s: How long an answer may take; None is for subscriptions, which watch their connection themselves.

    """
    return Redis.from_url(
        url,
        client_name=role,
        socket_timeout=read_timeout_s,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        socket_keepalive=True,
        max_connections=MAX_CONNECTIONS,
        retry=Retry(NoBackoff(), 0),
    )
