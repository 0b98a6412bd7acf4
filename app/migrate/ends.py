"""The two databases of a migration, each as what changes are read from and written to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import psycopg
from psycopg import sql

from app.migrate import target
from app.migrate.refused import Refused, told
from app.migrate.scope import OWNER
from app.migrate.source import Source
from app.migrate.target import Connect

Link = psycopg.Connection[tuple[Any, ...]]

MOVER = "maia_mover"
"""Writes changes into what came over: what its owner may, past row security that binds even the owner."""
NAME = "maia migrate"
PATIENT = "set statement_timeout = 0", "set idle_in_transaction_session_timeout = 0"
WRITING = "set session characteristics as transaction read write; set lock_timeout = '30s'"
QUIET = "set session_replication_role = replica"
"""No trigger and no foreign key does a second time what the change itself brings."""
SAFE = "set synchronous_commit = on"
"""A slot forgets what was written once: it must be on the disk by then."""


@dataclass(frozen=True)
class End:
    """One of them.

    Args:
        word: how it is told.
        read: a connection that reads.
        change: one that makes and drops what following takes.
        write: one that writes rows, as they are.
        stream: one that takes commands of replication.
        acting: a context in which rows are written.
    """

    word: str
    read: Callable[[], Link]
    change: Callable[[], Link]
    write: Callable[[], Link]
    stream: Callable[[], Link]
    acting: Callable[[Link], AbstractContextManager[None]]


def old(source: Source) -> End:
    """The one that was moved from."""

    def nobody(link: Link) -> AbstractContextManager[None]:
        return nullcontext()

    return End("source", source.connect, partial(_changing, source), partial(_writing, source),
               partial(_streaming, source), nobody)  # fmt: skip


def here(connect: Connect, path: str) -> End:
    """The appliance's own; ``path`` is where the source looks names up."""

    def plain() -> Link:
        link = connect()
        link.autocommit = True
        return link

    def writing() -> Link:
        link = target.opened(connect, path)
        link.execute(SAFE)
        return link

    def streaming() -> Link:
        with connect() as link:
            dsn = link.info.dsn
        return psycopg.connect(dsn, replication="database", autocommit=True)

    return End("target", plain, plain, writing, streaming, _moving)


def mover(link: Link) -> None:
    """Make the role that writes changes here."""
    link.execute(
        sql.SQL(
            """do $$ begin if not exists (select from pg_roles where rolname = {name}) then
                 create role {role} nologin bypassrls in role {owner}; end if; end $$;
               comment on role {role} is 'writes changes into what was moved here; nobody logs in as it'"""
        ).format(name=sql.Literal(MOVER), role=sql.Identifier(MOVER), owner=sql.Identifier(OWNER))
    )


@contextmanager
def _moving(link: Link) -> Iterator[None]:
    link.execute(sql.SQL("set local role {}").format(sql.Identifier(MOVER)))
    yield
    link.execute("reset role")


def _changing(source: Source) -> Link:
    link = source.connect()
    link.execute(WRITING)
    return link


def _writing(source: Source) -> Link:
    link = _changing(source)
    try:
        link.execute(QUIET)
    except psycopg.errors.InsufficientPrivilege as error:
        link.close()
        raise Refused(
            told(error),
            source.name,
            f"as its superuser: grant set on parameter session_replication_role to {source.words['user']}",
        ) from None
    link.execute(SAFE)
    return link


def _streaming(source: Source) -> Link:
    words = source.conninfo(application_name=NAME, replication="database")
    return psycopg.connect(words, password=source.password or None, autocommit=True)
