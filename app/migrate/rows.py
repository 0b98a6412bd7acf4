"""All rows of all tables, side by side, each part noted with the transaction that wrote it."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, Queue

import psycopg
from psycopg import sql

from app.migrate import digest, flow, journal, tables
from app.migrate.flow import Moment
from app.migrate.journal import Part
from app.migrate.pace import Pace
from app.migrate.refused import LOST, Refused, told
from app.migrate.source import Link, Source
from app.migrate.tables import Table
from app.migrate.target import Connect, acting, opened, serious

Say = Callable[[str], None]

ROUNDS = 3
"""How often a table is copied anew that was not the same as the source's after a pause."""
LINE = re.compile(r"line (\d+)")


class Rows:
    """The copying of one migration."""

    def __init__(self, source: Source, connect: Connect, path: str, jobs: int, say: Say) -> None:
        self.source, self.connect, self.path, self.jobs, self.say = source, connect, path, jobs, say

    def copy(self) -> Moment:
        """Everything that is missing, as the source has it at one moment.

        Returns:
            The moment.

        Raises:
            Refused: an end is gone or full; what was copied stays.
        """
        with self.source.connect() as holder, opened(self.connect, self.path) as link:
            moment = flow.hold(holder)
            with self.source.connect() as reader:
                flow.join(reader, moment)
                reader.execute("set local search_path = pg_catalog")
                known = {table.oid: table for table in tables.read(reader)}
            for attempt in range(ROUNDS + 1):
                self._gone(link, known)
                missing = journal.missing(link)
                pace = Pace((known[oid] for oid in {part.oid for part in missing}), journal.parts(link), missing)
                self._all(moment, known, missing, pace)
                if not (changed := self._changed(moment, known, link)):
                    self._alive(holder)
                    return moment
                if attempt < ROUNDS:
                    for table in changed:
                        journal.anew(link, table.oid, table.sql)
            raise Refused(
                f"never the same as the source: {', '.join(table.full for table in changed)}",
                "target",
                "this is a fault of maia's own",
            )

    def _alive(self, holder: Link) -> None:
        try:
            holder.execute("select 1")
        except LOST as error:
            raise _away(error) from None

    def _gone(self, link: Link, known: Mapping[int, Table]) -> None:
        """Tables that were dropped at the source since the migration began."""
        rows = link.execute("select oid::bigint, schema, name from maia_migrate.tables where fault = ''").fetchall()
        for oid, schema, name in rows:
            if oid not in known or (known[oid].schema, known[oid].name) != (schema, name):
                journal.anew(link, oid, sql.Identifier(schema, name), "was dropped or renamed at the source meanwhile")

    # -- parts ------------------------------------------------------------------------------------------------------

    def _all(self, moment: Moment, known: Mapping[int, Table], parts: list[Part], pace: Pace) -> None:
        queue: Queue[Part] = Queue()
        for part in parts:
            queue.put(part)
        stop = threading.Event()

        def work() -> None:
            try:
                with self.source.connect() as source, opened(self.connect, self.path) as target:
                    while not stop.is_set():
                        try:
                            part = queue.get_nowait()
                        except Empty:
                            return
                        self._part(source, target, moment, known[part.oid], part, pace)
            except BaseException:
                stop.set()
                raise

        with ThreadPoolExecutor(self.jobs) as pool:
            for future in [pool.submit(work) for _ in range(min(self.jobs, max(1, len(parts))))]:
                future.result()

    def _part(self, source: Link, target: Link, moment: Moment, table: Table, part: Part, pace: Pace) -> None:
        def tell(rows: int, *, whole: bool = False) -> None:
            if text := pace.reached(part, rows, whole=whole):
                self.say(text)

        reading, reached = True, flow.Reached(tell=tell)
        pace.begin(part)
        try:
            flow.join(source, moment)
            reading = False
            with target.transaction():
                if journal.wanted(target, table.oid):
                    with acting(target):
                        flow.copy(source, target, table, part, reached)
                    journal.copied(target, part, moment.state, reached.rows)
            source.execute("rollback")
            tell(reached.rows, whole=True)
        except psycopg.Error as error:
            self._failed(source, target, moment, table, part, error, None if reading else reached.rows)

    def _failed(
        self,
        source: Link,
        target: Link,
        moment: Moment,
        table: Table,
        part: Part,
        error: psycopg.Error,
        read: int | None,
    ) -> None:
        """A table whose rows cannot come over is left empty and named; anything else ends the run."""
        if source.closed or source.broken or read is None:
            raise _away(error) from None
        if target.closed or target.broken:
            raise Refused(told(error), "target", "run the same again: it goes on where it was") from None
        serious(error)
        source.execute("rollback")
        why = told(error)
        if isinstance(error, psycopg.errors.UndefinedTable | psycopg.errors.UndefinedColumn):
            why = f"changed at the source while it was copied: {why}"
        elif where := self._where(source, moment, table, part, error, read):
            why = f"{why} ({where})"
        journal.anew(target, table.oid, table.sql, why)

    def _where(self, source: Link, moment: Moment, table: Table, part: Part, error: psycopg.Error, read: int) -> str:
        """The row that was refused: its key, or its place where it has none."""
        # The target says in which line it was; at the source it is the one after the last that came.
        line = LINE.search(error.diag.context or "")
        before = int(line[1]) - 1 if line else read
        column = re.search(r"column (\S+)", error.diag.context or "")
        try:
            flow.join(source, moment)
            key = sql.SQL(", ").join(map(sql.Identifier, table.key or ("ctid",)))
            query = sql.SQL("select concat_ws(', ', {}) from only {}{} offset {} limit 1").format(
                key, table.sql, flow.within(part), sql.Literal(before)
            )
            row = source.execute(query).fetchone()
            source.execute("rollback")
        except psycopg.Error:
            return ""
        found = f"{', '.join(table.key) or 'ctid'} = {row[0]}" if row else ""
        return ", ".join(filter(None, [found, f"column {column[1].rstrip(',:')}" if column else ""]))

    # -- what changed while nobody copied -----------------------------------------------------------------------------

    def _changed(self, moment: Moment, known: Mapping[int, Table], link: Link) -> list[Table]:
        """Tables that were copied before a pause and are not as the source has them now."""
        stale = journal.stale(link, moment.state)
        if not stale:
            return []
        here = {(table.schema, table.name): table for table in self._here(link)}
        changed = []
        with self.source.connect() as source:
            flow.join(source, moment)
            source.execute(digest.SESSION.encode())
            for number, oid in enumerate(stale, start=1):
                table = known[oid]
                self.say(f"{number} of {len(stale)}: was {table.full} changed meanwhile?")
                with link.transaction():
                    link.execute(digest.SESSION.replace("set ", "set local ").encode())
                    same = digest.of(link, here[table.schema, table.name]) == digest.of(source, table)
                    if same:
                        link.execute("update maia_migrate.parts set snapshot = %s where oid = %s", [moment.state, oid])
                if not same:
                    changed.append(table)
        return changed

    def _here(self, link: Link) -> list[Table]:
        with link.transaction():
            link.execute("set local search_path = pg_catalog")
            return tables.read(link)


def _away(error: psycopg.Error) -> Refused:
    return Refused(
        f"went away: {' '.join(str(error).split())}",
        "source",
        "run the same again when it is back: it goes on where it was",
    )
