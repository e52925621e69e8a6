"""Passwords: which are taken, how they are hashed, and how they are checked without holding up anybody else.

A hash costs 20 ms of a core and 19 MiB (OWASP's Argon2id profile), so it never runs on the event loop, only a few run
at once, and more than MAX_WAITING do not queue up.
"""

import asyncio
import os
import unicodedata
from collections.abc import Callable
from typing import TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import VerifyMismatchError

from gateway.accounts.common_passwords import is_common
from shared.errors import InvalidRequestError, TryLaterError

Result = TypeVar("Result")

MEMORY_KIB = 19 * 1024
ITERATIONS = 2
LANES = 1
AT_ONCE = max(1, (os.cpu_count() or 1) // 2)  # streams need the other cores
MAX_WAITING = 256  # 5 to 6 s of hashing on one core
RETRY_AFTER_S = 5.0
MAX_LENGTH = 256  # characters; what is longer is a denial of service, not a password


class Passwords:
    """Hashes and checks passwords in threads."""

    def __init__(self, *, min_length: int) -> None:
        self._min_length = min_length
        self._hasher = PasswordHasher(
            time_cost=ITERATIONS, memory_cost=MEMORY_KIB, parallelism=LANES, hash_len=32, salt_len=16, type=Type.ID
        )
        self._stand_in = self._hasher.hash("")
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    def check_new(self, password: str, *, email: str, param: str = "password") -> None:
        """Accept a password that somebody chooses, or say why not; `param` is the field that it came in.

        Raises:
            InvalidRequestError: It is too short, too long, or among the first that an attacker tries.

        """
        if not self._min_length <= len(password) <= MAX_LENGTH:
            raise InvalidRequestError(f"A password has {self._min_length} to {MAX_LENGTH} characters.", param=param)
        if is_common(password) or password.casefold() == email:
            raise InvalidRequestError("This password is one that attackers try first.", param=param)

    async def hash(self, password: str) -> str:
        """Return the Argon2id hash of `password`, with salt and parameters in it.

        Raises:
            TryLaterError: Too many are waiting.

        """
        return await self._take_turn(self._hasher.hash, _canonical(password))

    async def is_right(self, password: str, password_hash: str | None) -> bool:
        """Tell whether `password` belongs to `password_hash`; None, for nobody, takes as long and is never right.

        Raises:
            TryLaterError: Too many are waiting.

        """
        try:
            await self._take_turn(self._hasher.verify, password_hash or self._stand_in, _canonical(password))
        except VerifyMismatchError:
            return False
        return password_hash is not None

    def is_outdated(self, password_hash: str) -> bool:
        """Tell whether the hash was made with weaker parameters than today's."""
        return self._hasher.check_needs_rehash(password_hash)

    async def _take_turn(self, work: Callable[..., Result], *arguments: str) -> Result:
        if self._waiting >= MAX_WAITING:
            raise TryLaterError("Too many people log in just now.", retry_after_s=RETRY_AFTER_S)
        self._waiting += 1
        try:
            async with self._turns:
                return await asyncio.to_thread(work, *arguments)
        finally:
            self._waiting -= 1


def _canonical(password: str) -> str:
    """Keyboards differ in how they compose letters; a password must not (NIST SP 800-63B-4, 3.1.1.2)."""
    return unicodedata.normalize("NFKC", password)
