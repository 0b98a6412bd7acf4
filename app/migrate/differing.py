"""Which rows of a table differ, and in which columns: named, their values told to nobody."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from app.migrate import digest
from app.migrate.tables import Table

Link = psycopg.Connection[Any]

NAMED = 10
"""How many rows are named."""
FETCHED = 2000


@dataclass(frozen=True)
class Row:
    """One that is not the same on both sides.

    Args:
        name: its key, or its hash where it has none.
        columns: which differ; none where the row is on one side alone.
    """

    name: str
    where: str
    columns: tuple[str, ...] = ()


def rows(source: Link, there: Table, target: Link, here: Table) -> list[Row]:
    """The first of them; both connections are in a transaction.

    Both sides are sorted by the rows' hashes, so that neither is held in memory, whatever the table.
    """
    missing: dict[str, int] = {}
    extra: dict[str, int] = {}
    sides = heapq.merge(
        ((value, 0, name) for value, name in _hashes(source, there)),
        ((value, 1, name) for value, name in _hashes(target, here)),
    )
    held: list[tuple[int, int, str]] = []
    current: int | None = None

    def settle() -> None:
        """Equal hashes on both sides are equal rows."""
        mine = [name for _, side, name in held if side == 0]
        theirs = [name for _, side, name in held if side == 1]
        for name in mine[len(theirs) :]:
            missing[name] = 1
        for name in theirs[len(mine) :]:
            extra[name] = 1

    for each in sides:
        if each[0] != current:
            settle()
            held, current = [], each[0]
            if len(missing) >= NAMED and len(extra) >= NAMED:
                break
        held.append(each)
    else:
        settle()
    return list(_told(source, there, target, here, missing, extra))[:NAMED]


def _told(
    source: Link, there: Table, target: Link, here: Table, missing: dict[str, int], extra: dict[str, int]
) -> Iterator[Row]:
    for name in missing:
        if there.key and (found := _row(target, here, name)) is not None:
            mine = _row(source, there, name) or {}
            yield Row(_words(there, name), "both", tuple(key for key in mine if mine[key] != found.get(key)))
        else:
            yield Row(_words(there, name), "the source alone")
    for name in extra:
        if not there.key or _row(source, there, name) is None:
            yield Row(_words(there, name), "the target alone")


def _words(table: Table, name: str) -> str:
    return f"({', '.join(table.key)}) = {name}" if table.key else f"a row with the hash {name}"


def _key(table: Table) -> sql.Composable:
    if not table.key:
        return sql.SQL("{}::text").format(digest.hashed(table))
    return sql.SQL("row({})::text").format(
        sql.SQL(", ").join(sql.SQL("t.{}").format(sql.Identifier(name)) for name in table.key)
    )


def _hashes(link: Link, table: Table) -> Iterator[tuple[int, str]]:
    query = sql.SQL("select {}, {} from only {} t order by 1, 2").format(digest.hashed(table), _key(table), table.sql)
    with link.cursor(name="hashes") as cursor:
        cursor.itersize = FETCHED
        cursor.execute(query)
        yield from cursor


def _row(link: Link, table: Table, name: str) -> dict[str, int] | None:
    """A hash for each column of a row."""
    columns = [
        sql.SQL("hashtextextended({}::text, 0)").format(
            sql.SQL("{}(t.{})").format(sql.Identifier(each.vector, f"{each.kind}_send"), sql.Identifier(each.name))
            if each.vector
            else sql.SQL("t.{}").format(sql.Identifier(each.name))
        )
        for each in table.columns
    ]
    query = sql.SQL("select {} from only {} t where {} = {}").format(
        sql.SQL(", ").join(columns), table.sql, _key(table), sql.Literal(name)
    )
    found = link.execute(query).fetchone()
    return dict(zip((each.name for each in table.columns), found)) if found else None
