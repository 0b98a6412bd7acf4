"""A table brought to what another end has at one moment, by comparing all rows and writing those that differ.

Rows are told apart by a hash and found again by their place, so that a table needs no key for it.
"""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Iterator

import psycopg
from psycopg import sql

from app.migrate import digest
from app.migrate.ends import End, Link
from app.migrate.refused import Refused, told
from app.migrate.tables import Table
from app.migrate.target import serious

FETCHED = 5000
BATCH = 5000
"""Rows that are deleted or fetched at once."""
SHIFT = 16
"""Bits of a row's number on its page."""


def bring(other: End, origin: Link, there: Table, end: End, link: Link, here: Table) -> int:
    """Make the rows of one end what they are at the other, in one transaction.

    Args:
        origin: a connection to the other, which is in a transaction and asks as ``digest.SESSION`` says.

    Returns:
        How many rows were written or deleted.

    Raises:
        Refused: a row cannot be as it is there.
    """
    if set(there.copied) != set(here.copied):
        columns = ", ".join(sorted(set(there.copied) ^ set(here.copied)))
        raise Refused(
            f"its definition was changed: column {columns}",
            there.full,
            f"change it at the {end.word} in the same way and run the same again",
        )
    path = (link.execute("show search_path").fetchone() or ("",))[0]
    try:
        with link.transaction():
            link.execute(digest.SESSION.replace("set ", "set local ").encode())
            if digest.of(origin, there) == digest.of(link, here):
                return 0
            missing, deleted = _sort_out(origin, there, end, link, here)
            # Checks and indexes over functions rely on where the source looks names up.
            link.execute("select set_config('search_path', %s, true)", [path])
            for begin in range(0, len(missing), BATCH):
                with end.acting(link):
                    _pour(origin, there, link, here, _places(missing[begin : begin + BATCH]))
            return len(missing) + deleted
    except psycopg.Error as error:
        if origin.closed or origin.broken:
            raise Refused(f"went away: {told(error)}", other.word, "run the same again: nothing is lost") from None
        serious(error)
        raise Refused(told(error), there.full, "mend it and run the same again: nothing is lost") from None


def _sort_out(origin: Link, there: Table, end: End, link: Link, here: Table) -> tuple[array[int], int]:
    """Delete what is not there, and find what is not here: its places, eight bytes a row."""
    missing, extra, deleted = array("Q"), array("Q"), 0
    for side, place in unpaired(_hashes(origin, there), _hashes(link, here)):
        (extra if side else missing).append(place)
        if len(extra) >= BATCH:
            deleted += _delete(end, link, here, extra)
            extra = array("Q")
    return missing, deleted + _delete(end, link, here, extra)


def unpaired(first: Iterator[tuple[int, int]], second: Iterator[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """What only one side has of two sorted ones: which, and its place. What is there twice must be here twice."""
    sides = heapq.merge(((value, 0, place) for value, place in first), ((value, 1, place) for value, place in second))
    current: int | None = None
    waiting: list[tuple[int, int]] = []
    for value, side, place in sides:
        if value != current:
            yield from waiting
            current, waiting = value, []
        if waiting and waiting[-1][0] != side:
            waiting.pop()
        else:
            waiting.append((side, place))
    yield from waiting


def _hashes(link: Link, table: Table) -> Iterator[tuple[int, int]]:
    query = sql.SQL("select {}, ctid::text from only {} t order by 1").format(digest.hashed(table), table.sql)
    with link.cursor(name="rows") as cursor:
        cursor.itersize = FETCHED
        cursor.execute(query)
        for value, place in cursor:
            page, _, number = place[1:-1].partition(",")
            yield value, (int(page) << SHIFT) + int(number)


def _places(packed: array[int]) -> sql.Literal:
    return sql.Literal([f"({place >> SHIFT},{place & 0xFFFF})" for place in packed])


def _delete(end: End, link: Link, table: Table, places: array[int]) -> int:
    if not places:
        return 0
    with end.acting(link):
        query = sql.SQL("delete from only {} where ctid = any({}::tid[])").format(table.sql, _places(places))
        return link.execute(query).rowcount


def _pour(origin: Link, there: Table, link: Link, here: Table, places: sql.Literal) -> None:
    form = sql.SQL("binary" if there.binary and here.binary else "text")
    columns = sql.SQL(", ").join(map(sql.Identifier, there.copied))
    reading = sql.SQL("copy (select {} from only {} where ctid = any({}::tid[])) to stdout (format {})").format(
        columns, there.sql, places, form
    )
    into = sql.SQL("({})").format(columns) if there.copied else sql.SQL("")
    writing = sql.SQL("copy {} {} from stdin (format {})").format(here.sql, into, form)
    with origin.cursor() as reader, link.cursor() as writer, reader.copy(reading) as rows, writer.copy(writing) as sink:
        for row in rows:
            sink.write(row)
