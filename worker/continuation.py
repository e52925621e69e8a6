"""How an answer goes on that an earlier attempt has left in the middle: what Ollama is asked, and how the parts join.

Many models continue a trailing assistant message, others answer it. Ollama shows what it would give the model
(`_debug_render_only`): only if that ends with the text so far, the model goes on from there. Where it is not certain
that the parts are one answer, the answer begins anew (docs/decisions/0010-continuing-an-answer.md).

Trailing whitespace has reached the client and is left out of what the model is given, because templates trim it and
tokenizers join it with the next word. Whatever of it the model then says again is taken off the head of the rest.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

import msgspec
from msgspec import Struct
from redis.exceptions import RedisError

from shared.events import Event, EventKind, Resumed
from shared.jobs import Job, JobKind
from shared.token_log import JobLog
from shared.transcripts import transcribe
from worker.ollama import Deadlines, Ollama
from worker.ollama_replies import Reply

RETRY_READ_S = 0.2

_log = logging.getLogger(__name__)
_resumptions = msgspec.json.Decoder(Resumed)


class Part(Struct, frozen=True):
    """What the client has of an answer."""

    content: str = ""
    thinking: str = ""
    chunks: int = 0
    size_bytes: int = 0  # of the chunks' payloads
    calls_tools: bool = False


class Continuation(Struct):
    """The rest of an answer: what to ask for it, and how it joins what the client has."""

    request: bytes
    part: Part
    may_say: int | None  # tokens that `num_predict` leaves; None: as many as it likes
    owed: str  # whitespace at the head of the rest that the client has already

    def join(self, replies: Sequence[Reply]) -> list[Reply]:
        """Return replies of the rest as they go on from the part, with counts of both in the last."""
        return [joined for reply in replies if not (joined := self._join(reply)).is_empty]

    def last_reply(self) -> Reply:
        """Return the end of an answer that has used up its `num_predict`."""
        return Reply(done=True, done_reason="length", eval_count=self.part.chunks)

    def _join(self, reply: Reply) -> Reply:
        if self.owed and (content := reply.content):
            repeated = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(self.owed, content, strict=False)))
            self.owed = self.owed[repeated:] if repeated == len(content) else ""
            reply = reply.with_content(content[repeated:])
        if reply.done:
            reply = msgspec.structs.replace(
                reply,
                prompt_eval_count=max(reply.prompt_eval_count - self.part.chunks, 0),  # it has read the part, too
                eval_count=reply.eval_count + self.part.chunks,
            )
        return reply


async def find_continuation(
    ollama: Ollama, job: Job, log: JobLog, *, deadlines: Deadlines, headers: Mapping[str, str]
) -> Continuation | None:
    """Return how the answer in `log` can go on; None: it must begin anew.

    Raises:
        UpstreamError: Ollama failed.
        ModelNotFoundError: It does not have the model.

    """
    continuation: Continuation | None = None
    if job.kind is JobKind.CHAT and not job.calls_tools:
        continuation = _plan(job, await _read_part(log))
    if continuation is not None and continuation.may_say != 0:
        rendered = await ollama.render(_to_render(continuation.request), deadlines=deadlines, headers=headers)
        if rendered is None or not rendered.endswith(continuation.part.content.rstrip()):
            continuation = None
    _log.info("answer_restarted" if continuation is None else "answer_continued")
    return continuation


async def _read_part(log: JobLog) -> Part:
    """Return what the client has, nothing if a piece of it is not known any more; outages of Redis are waited out."""
    while True:
        try:
            return _to_part(await _read_chunks(log))
        except RedisError as error:
            _log.warning("part_unread", extra={"error": str(error)})
        await asyncio.sleep(RETRY_READ_S)


async def _read_chunks(log: JobLog) -> list[Event]:
    """Return the chunks that count; none if Redis has lost some of them with an earlier owner."""
    chunks: list[Event] = []
    seq, is_whole = 0, True
    async for event in log.read_back():
        is_whole, seq = is_whole and event.seq == seq + 1, event.seq
        if event.kind == EventKind.CHUNK.value:
            chunks.append(event)
        elif event.kind == EventKind.RESUMED.value and _resumptions.decode(event.payload).mode == "restarted":
            chunks.clear()
            is_whole = True
    return chunks if is_whole and seq == log.last_seq else []


def _to_part(chunks: Sequence[Event]) -> Part:
    said = transcribe(chunks)
    return Part(
        content=said.content,
        thinking=said.thinking,
        chunks=len(chunks),
        size_bytes=sum(len(chunk.payload) for chunk in chunks),
        calls_tools=bool(said.tool_calls),
    )


def _plan(job: Job, part: Part) -> Continuation | None:
    """Return what to ask for the rest, None where nobody could tell whether it is one."""
    request: dict[str, Any] = msgspec.json.decode(job.request)
    messages, options = request["messages"], request.get("options") or {}
    begun = part.content.rstrip()
    if (
        not begun  # nothing yet, or thoughts that have not ended
        or "\x00" in begun  # at which a tokenizer may stop
        or part.calls_tools
        or request.get("format") is not None
        or any(message.get("images") for message in messages)
        or messages[-1]["role"] == "assistant"  # two in a row are joined by an empty line
        or _may_be_stopping(begun, options.get("stop") or ())
    ):
        return None
    message = {"role": "assistant", "content": begun, **({"thinking": part.thinking} if part.thinking else {})}
    may_say = None
    if (most := options.get("num_predict") or 0) > 0:
        may_say = max(most - part.chunks, 0)
        options = {**options, "num_predict": may_say}
    rest = {**request, "messages": [*messages, message], **({"options": options} if options else {})}
    return Continuation(request=msgspec.json.encode(rest), part=part, may_say=may_say, owed=part.content[len(begun) :])


def _may_be_stopping(text: str, stops: Sequence[str]) -> bool:
    """Whether a stop sequence may have begun. Ollama keeps such text back until it knows; others need not."""
    return any(text.endswith(stop[:length]) for stop in stops for length in range(1, len(stop) + 1))


def _to_render(request: bytes) -> bytes:
    """Return the question what the model would be given; to an Ollama that does not know it, for a single token."""
    asked: dict[str, Any] = msgspec.json.decode(request)
    options = {**asked.get("options", {}), "num_predict": 1}
    return msgspec.json.encode({**asked, "options": options, "stream": False, "_debug_render_only": True})
