"""Hashes of passwords: made and checked in threads, while the event loop goes on and no database connection is held."""

from __future__ import annotations

import asyncio
import functools
import os
import secrets
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import argon2
import bcrypt

from app.auth import metrics
from app.auth.errors import busy

T = TypeVar("T")

LONGEST = 72
"""Bytes that bcrypt looks at; a longer password is refused, never cut."""
QUEUE = 16
"""Passwords that may wait for a thread, for each thread."""


def normal(password: str) -> str:
    """The same password whichever way its letters were typed (NIST SP 800-63B-4, 3.1.1.2: NFKC)."""
    return unicodedata.normalize("NFKC", password)


def fits(password: str) -> bool:
    """Whether bcrypt sees all of it."""
    return len(normal(password).encode("utf-8", "surrogatepass")) <= LONGEST


class Hasher:
    def __init__(self, cost: int, threads: int | None = None) -> None:
        """
        Args:
            cost: of bcrypt, its logarithm.
            threads: how many hash at once; by default as many as this process may use processors.
        """
        self.cost = cost
        self._threads = threads or len(os.sched_getaffinity(0))
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="hash")
        self._waiting = 0
        # What is compared with where there is no account: nobody knows its password.
        self._nobody = bcrypt.hashpw(secrets.token_bytes(16), bcrypt.gensalt(cost)).decode()

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def make(self, password: str) -> str:
        """The hash of a new password."""
        return await self._away(functools.partial(_make, normal(password).encode(), self.cost))

    async def check(self, password: str, known: str | None) -> bool:
        """Whether it is the password of ``known``; the same work is done where there is none."""
        tried = _forms(password)
        good = await self._away(functools.partial(_check, tried, known or self._nobody))
        return good and known is not None

    def weaker(self, known: str) -> bool:
        """Whether a hash should be made anew now that the password is at hand."""
        if not known.startswith(("$2a$", "$2b$", "$2y$")):
            return True
        return int(known.split("$")[2]) < self.cost

    async def _away(self, work: Callable[[], T]) -> T:
        if self._waiting >= QUEUE * self._threads:
            raise busy()
        self._waiting += 1
        metrics.HASHING.set(self._waiting)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._waiting -= 1
            metrics.HASHING.set(self._waiting)


def _make(password: bytes, cost: int) -> str:
    return bcrypt.hashpw(password, bcrypt.gensalt(cost)).decode()


def _forms(password: str) -> list[bytes]:
    """The bytes to try: the normal form, and what was typed where a hash was brought along that knows no other."""
    forms = {normal(password): None, password: None}
    return [form.encode("utf-8", "surrogatepass") for form in forms]


def _check(tried: list[bytes], known: str) -> bool:
    good = False
    for password in tried:
        # One that is too long is no password of ours; what it costs to say so is the same.
        right = _matches(password[:LONGEST], known)
        good |= right and len(password) <= LONGEST
    return good


def _matches(password: bytes, known: str) -> bool:
    if known.startswith("$argon2"):
        try:
            return argon2.PasswordHasher().verify(known, password)
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return False
    try:
        return bcrypt.checkpw(password, known.encode())
    except ValueError:
        return False
