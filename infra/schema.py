"""The schema of MAIA in a stack's Postgres, over its administrative socket: migrated, looked at, compared."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import psycopg
from psycopg import sql

from app.schema import catalogue, migrate, snapshot
from app.schema.apply import Refused
from app.schema.migrate import State
from infra.components.database import administer
from infra.errors import MaiaError

DATABASE = "maia"
Link = psycopg.Connection[tuple[Any, ...]]


def bring(socket: str, say: Callable[[str], None]) -> tuple[str, ...]:
    """Make the database where it is missing, and apply what is pending.

    Returns:
        The versions applied.

    Raises:
        MaiaError: it was refused, and why; nothing was changed.
    """
    if not exists(socket):
        say(f"making the database {DATABASE}")
        with administer(socket) as link:
            link.execute(sql.SQL("create database {}").format(sql.Identifier(DATABASE)))
    with _told():
        return migrate.migrate(partial(_connect, socket, DATABASE), say)


def state(socket: str) -> State:
    """Where it stands.

    Raises:
        MaiaError: there is no such database.
    """
    with _opened(socket) as link:
        return migrate.state(link)


def findings(socket: str) -> list[str]:
    """What breaks the schema's rules, and where the log of changes was altered."""
    with _opened(socket) as link:
        if not catalogue.present(link):
            return []
        return [*catalogue.findings(link), *catalogue.altered(link)]


def root(socket: str) -> str:
    """The digest over the ends of all chains of the log; empty where there is no log."""
    with _opened(socket) as link:
        if not catalogue.present(link):
            return ""
        found = link.execute("select encode(maia.change_root(), 'hex')").fetchone()
        return str(found[0]) if found else ""


def differences(socket: str, say: Callable[[str], None]) -> list[str]:
    """How the database differs from this release's schema, which is made in a database beside it and removed again."""
    side = f"{DATABASE}_diff_{os.getpid()}"
    with administer(socket) as link, _told():
        link.execute(sql.SQL("create database {}").format(sql.Identifier(side)))
        try:
            migrate.migrate(partial(_connect, socket, side), say)
            with _connect(socket, side) as wanted:
                lines = snapshot.take(wanted)
        finally:
            link.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(side)))
    with _opened(socket) as found:
        return list(snapshot.differences(lines, snapshot.take(found)))


def exists(socket: str) -> bool:
    with administer(socket) as link:
        return link.execute("select 1 from pg_database where datname = %s", [DATABASE]).fetchone() is not None


@contextmanager
def _opened(socket: str) -> Iterator[Link]:
    if not exists(socket):
        raise MaiaError("there is none yet", where=f"database {DATABASE}", mend="maia db migrate")
    with _connect(socket, DATABASE) as link:
        yield link


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except Refused as refused:
        raise MaiaError(
            str(refused), where=f"database {DATABASE}", mend="nothing was changed; maia db status"
        ) from None


def _connect(socket: str, database: str) -> Link:
    return psycopg.connect(host=socket, user="postgres", dbname=database, connect_timeout=10)
