"""Rows on their way: read from the source in its own binary form and written as they come, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import psycopg
from psycopg import sql
from psycopg.abc import PQGen
from psycopg.generators import fetch_many
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.pq.abc import PGconn
from psycopg.waiting import Wait

from app.migrate.journal import Part
from app.migrate.source import Link
from app.migrate.tables import Table

BLOCK = 1 << 17
"""Bytes that are written at once: a row by itself may be a few only."""
PART = 64 << 20
"""Bytes of a table that are copied at once, with what is stored beside its rows."""


@dataclass(frozen=True)
class Moment:
    """One state of the source that several connections read."""

    name: str
    """Of the snapshot."""
    state: str
    """Which transactions it has: the same text is the same rows."""
    lsn: str


def split(table: Table) -> list[Part]:
    """A table in parts, by its pages; the last one is open, for pages that are added meanwhile."""
    count = max(1, min(table.pages, -(-table.size // PART)))
    edges = [table.pages * number // count for number in range(count)]
    return [
        Part(table.oid, number, first, past)
        for number, (first, past) in enumerate(zip(edges, [*edges[1:], None]), start=1)
    ]


def hold(link: Link) -> Moment:
    """Open a transaction that keeps the source as it is now, for as long as it lasts."""
    link.execute("begin isolation level repeatable read read only")
    row = link.execute(
        """select pg_export_snapshot(), pg_current_snapshot()::text,
             (case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end)::text"""
    ).fetchone()
    assert row
    return Moment(*row)


def join(link: Link, moment: Moment) -> None:
    """Open a transaction that sees the source as it was then."""
    link.execute("begin isolation level repeatable read read only")
    link.execute(sql.SQL("set transaction snapshot {}").format(sql.Literal(moment.name)))


def within(part: Part) -> sql.Composed:
    """The condition that a row is in a part."""
    if part.number == 1 and part.past is None:
        return sql.Composed([])
    found = sql.SQL(" where ctid >= {}::tid").format(sql.Literal(f"({part.first},0)"))
    if part.past is not None:
        found += sql.SQL(" and ctid < {}::tid").format(sql.Literal(f"({part.past},0)"))
    return found


@dataclass
class Reached:
    """How far a part is.

    Args:
        tell: is told the rows at each block.
    """

    rows: int = 0
    tell: Callable[[int], None] = lambda _: None


def copy(
    source: Link, target: psycopg.Connection[tuple[object, ...]], table: Table, part: Part, reached: Reached
) -> None:
    """Every row of a part; both connections are in a transaction."""
    form = sql.SQL("binary" if table.binary else "text")
    columns = sql.SQL(", ").join(map(sql.Identifier, table.copied))
    reading = sql.SQL("copy (select {} from only {}{}) to stdout (format {})").format(
        columns, table.sql, within(part), form
    )
    into = sql.SQL("({})").format(columns) if table.copied else sql.SQL("")
    writing = sql.SQL("copy {} {} from stdin (format {})").format(table.sql, into, form)
    with source.cursor() as reader, target.cursor() as writer:
        with reader.copy(reading), writer.copy(writing) as sink:
            while source.pgconn.transaction_status == TransactionStatus.ACTIVE:
                sink.write(b"".join(source.wait(_come(source.pgconn, reached))))
                reached.tell(reached.rows)
        reached.rows = writer.rowcount


def _come(link: PGconn, reached: Reached) -> PQGen[list[memoryview]]:
    """The rows of one block; the connection is done with its command after the last.

    psycopg hands out one at a time, which costs more than all else that is done with a small one.

    Raises:
        psycopg.Error: the server cannot go on.
    """
    rows: list[memoryview] = []
    held, take = 0, link.get_copy_data
    while held < BLOCK:
        size, row = take(1)
        if size > 0:
            rows.append(row)
            held += size
        elif size == 0:
            while not (yield Wait.R):
                continue
            link.consume_input()
        else:
            break
    reached.rows += len(rows)
    if size < 0:
        (result,) = yield from fetch_many(link)
        if result.status != ExecStatus.COMMAND_OK:
            raise psycopg.errors.error_from_result(result)
    return rows
