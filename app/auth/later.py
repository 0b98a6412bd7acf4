"""Work that a request leads to and that its answer does not wait for."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable

import psycopg

from app.auth.errors import Refused

PAUSE = 200
"""Milliseconds, at most, until it begins: at a moment that has nothing to do with the requests that come next."""

log = logging.getLogger("maia.auth")


class Later:
    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do it soon, apart from the connection that asked: nobody can time it."""
        task = asyncio.create_task(_done(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finish(self) -> None:
        """Wait for all that was begun."""
        await asyncio.gather(*self._tasks)


async def _done(work: Callable[[], Awaitable[None]]) -> None:
    await asyncio.sleep(secrets.randbelow(PAUSE) / 1000)
    try:
        await work()
    except (Refused, psycopg.Error) as error:
        log.error("what was asked for was not done: %s", type(error).__name__)
