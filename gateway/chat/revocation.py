"""Ends streams whose readers may read no more: their credential is revoked, or their user disabled or deleted."""

import asyncio
import contextlib
import logging

from gateway.accounts.identities import Identities
from gateway.relay import Relay

CHECK_EVERY_S = 4.0  # with the second that the answer may take, a revocation nobody told of is effective within 5 s

_log = logging.getLogger(__name__)


class Revocation:
    """Asks about the readers of all streams of this process at once; who reads costs nothing in between."""

    def __init__(self, relay: Relay, identities: Identities, *, check_every_s: float = CHECK_EVERY_S) -> None:
        self._relay = relay
        self._identities = identities
        self._check_every_s = check_every_s
        self._hurry = asyncio.Event()

    def hurry(self) -> None:
        """Check now: somebody was revoked."""
        self._hurry.set()

    async def run(self) -> None:
        """Check until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._check_every_s):
                    await self._hurry.wait()
            self._hurry.clear()
            await self.check()

    async def check(self) -> None:
        """End the streams of those who are not let in any more; if they go on elsewhere, they meet a 401."""
        readers = [reader for reader in self._relay.readers() if reader.credential is not None]
        allowed = await self._identities.confirm({reader.credential for reader in readers if reader.credential})
        for reader in readers:
            if reader.credential not in allowed and not reader.has_parted:
                _log.info("stream_revoked", extra={"job_id": reader.job_id, "credential": str(reader.credential)})
                reader.revoke()
