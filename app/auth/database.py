"""The project's database, by a pool of connections whose credential is read anew for each."""

from __future__ import annotations

import json
import select
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout, TooManyRequests

from app.auth.errors import busy

Row = dict[str, Any]
Connection = AsyncConnection[DictRow]

WAIT = 5.0
"""Seconds that a request waits for a connection."""
WAITING = 256
"""Requests that may wait for one."""


class Database:
    """Statements by themselves commit at once; ``transaction`` is for what belongs together."""

    def __init__(self, credential: Path, size: int) -> None:
        """
        Args:
            credential: file as an app gets it; read again for each new connection, so a rotation needs no restart.
            size: connections at most.
        """
        self._credential = credential
        self._size = size
        self._pool = AsyncConnectionPool(
            self._url,
            connection_class=AsyncConnection[DictRow],
            kwargs={"row_factory": dict_row, "autocommit": True, "connect_timeout": 5, "application_name": "auth"},
            configure=_configure,
            min_size=2,
            max_size=size,
            max_waiting=WAITING,
            timeout=WAIT,
            max_lifetime=600,
            open=False,
        )

    async def _url(self) -> str:
        return str(json.loads(self._credential.read_bytes())["url"])

    async def open(self) -> None:
        await self._pool.open()

    async def close(self) -> None:
        await self._pool.close()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection on which each statement commits by itself.

        Raises:
            Refused: there is none to be had in time.
        """
        link = await self._lent()
        try:
            async with link:
                yield link
        finally:
            await self._pool.putconn(link)

    async def _lent(self) -> Connection:
        """A connection that is there.

        Those that the server ended while they were idle, as when the login is exchanged for another, are left behind
        at once: the pool's own check would pause for seconds between them.
        """
        for _ in range(self._size + 1):
            try:
                link = await self._pool.getconn()
            except (PoolTimeout, TooManyRequests):
                break
            alive = False
            try:
                alive = await _alive(link)
            finally:
                if not alive:
                    await link.close()
                    await self._pool.putconn(link)
            if alive:
                return link
        raise busy()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection whose statements happen together or not at all."""
        async with self.connection() as link, link.transaction():
            yield link

    async def one(self, query: str, parameters: Row) -> Row | None:
        """The first row of a statement by itself."""
        async with self.connection() as link:
            return await one(link, query, parameters)


async def one(link: Connection, query: str, parameters: Row) -> Row | None:
    """The first row of a statement."""
    return await (await link.execute(query.encode(), parameters)).fetchone()


async def every(link: Connection, query: str, parameters: Row) -> list[Row]:
    """All rows of a statement."""
    return await (await link.execute(query.encode(), parameters)).fetchall()


async def run(link: Connection, query: str, parameters: Row) -> int:
    """How many rows a statement changed."""
    return (await link.execute(query.encode(), parameters)).rowcount


async def _configure(link: Connection) -> None:
    link.prepare_threshold = 1
    await link.execute("set statement_timeout = '10s'")
    await link.execute("set lock_timeout = '5s'")
    await link.execute("set idle_in_transaction_session_timeout = '15s'")


async def _alive(link: Connection) -> bool:
    """Whether a connection is still there; it is asked only where something came in while it was idle."""
    look = select.poll()
    try:
        look.register(link.fileno(), select.POLLIN)
        if look.poll(0):
            await AsyncConnectionPool.check_connection(link)
    except psycopg.Error:
        return False
    return True


Unavailable = (psycopg.OperationalError, psycopg.InterfaceError)
"""What is raised while the database is away."""
