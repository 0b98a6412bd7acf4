"""How far the copying of rows is, of a table and in all, and how long it should still take."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

from app.migrate.journal import Part
from app.migrate.tables import Table

EACH = 1.0
"""Seconds between what is told of parts that are not at their end."""
NEARLY = 0.99
"""Statistics may have fewer rows than there are: a part is not at its end before it says so."""


class Pace:
    """What is told on the way; several threads tell it how far they are.

    Args:
        tables: those that hold what is missing.
        parts: into how many each of them was divided.
        missing: those of them that are copied now.
    """

    def __init__(
        self,
        tables: Iterable[Table],
        parts: Mapping[int, int],
        missing: Iterable[Part],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tables = {table.oid: table for table in tables}
        self._parts, self._clock = parts, clock
        self._missing: defaultdict[int, int] = defaultdict(int)
        for part in missing:
            self._missing[part.oid] += 1
        self._all = sum(self._weight(oid) * count for oid, count in self._missing.items())
        self._lock = threading.Lock()
        self._reached: defaultdict[int, dict[int, tuple[int, float]]] = defaultdict(dict)
        """Of each table, for each part the rows that came, and which share of it they are."""
        self._began: dict[int, float] = {}
        self._started = clock()
        self._told = self._started

    def begin(self, part: Part) -> None:
        with self._lock:
            self._began.setdefault(part.oid, self._clock())

    def reached(self, part: Part, rows: int, *, whole: bool = False) -> str:
        """A part is so far.

        Returns:
            What there is to tell; nothing where something was told just now.
        """
        with self._lock:
            now, table = self._clock(), self._tables[part.oid]
            expected = table.rows / self._parts[part.oid]
            share = 1.0 if whole else min(NEARLY, rows / expected if expected else 0.0)
            self._reached[part.oid][part.number] = rows, share
            if not whole and now - self._told < EACH:
                return ""
            self._told = now
            return f"{self._of(table, now)}; all: {self._in_all(now)}"

    def _weight(self, oid: int) -> float:
        """Bytes of one part: an empty table takes some time too."""
        return max(1, self._tables[oid].size) / self._parts[oid]

    def _of(self, table: Table, now: float) -> str:
        found = self._reached[table.oid].values()
        rows, done = sum(rows for rows, _ in found), sum(share for _, share in found)
        parts, missing, took = self._parts[table.oid], self._missing[table.oid], now - self._began[table.oid]
        share = (parts - missing + done) / parts
        return f"{table.full}: {share:.0%}, {rows} rows, {rows / max(0.1, took):.0f} rows/s" + _left(
            missing - done, done, took
        )

    def _in_all(self, now: float) -> str:
        done = sum(self._weight(oid) * share for oid, parts in self._reached.items() for _, share in parts.values())
        return f"{done / self._all:.0%}" + _left(self._all - done, done, now - self._started)


def _left(missing: float, done: float, took: float) -> str:
    """The time for what is missing, at the pace of what is done."""
    if missing <= 0:
        return ""
    if not done:
        return ", some time left"
    left = missing * took / done
    return f", {left:.0f} s left" if left < 60 else f", {left / 60:.0f} min left"
