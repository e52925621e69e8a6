"""What arq asks Redis for before it runs a job, answered from memory.

`arq.Worker.run_job` fetches the job's envelope and counts the try. Our claim has brought the job already, and counts
failures itself, so the question would cost a round trip before every first token and tell nothing new
(docs/decisions/0003-arq-asks-memory.md).
"""

from types import TracebackType
from typing import Any, Self

from arq.connections import ArqRedis
from arq.constants import job_key_prefix

from shared import ids


class Envelopes(ArqRedis):
    """The pool of an arq worker whose jobs all call one function with their own id."""

    FUNCTION_NAME = "run"

    def __init__(self) -> None:
        super().__init__()

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Any:  # noqa: ANN401, ARG002, FBT001, FBT002
        """Return what `run_job` asks its question through."""
        return _Question()

    @staticmethod
    def encode(_: dict[str, Any]) -> bytes:
        """Return nothing: results are not kept."""
        return b""

    @classmethod
    def decode(cls, envelope: bytes) -> dict[str, Any]:
        """Return the envelope of the job whose id `envelope` is, in arq's terms.

        The id is the only argument, because arq logs arguments.
        """
        job_id = envelope.decode()
        return {"t": None, "f": cls.FUNCTION_NAME, "a": (job_id,), "k": {}, "et": ids.created_ms(job_id)}


class _Question:
    """The one pipeline of `run_job`: GET the envelope, INCR and EXPIRE the tries."""

    def __init__(self) -> None:
        self._envelope = b""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass

    def get(self, key: str) -> None:
        self._envelope = key.removeprefix(job_key_prefix).encode()

    def incr(self, _: str) -> None:
        pass

    def expire(self, _: str, __: int) -> None:
        pass

    async def execute(self) -> tuple[bytes, int, bool]:
        return self._envelope, 1, True
