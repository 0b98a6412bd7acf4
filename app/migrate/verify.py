"""Both sides compared: every row by digest, every definition by its text."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from app.migrate import differing, digest, flow, journal, shape, tables
from app.migrate.differing import Row
from app.migrate.digest import Digest
from app.migrate.flow import Moment
from app.migrate.journal import Run, Told
from app.migrate.refused import Refused
from app.migrate.shape import Difference
from app.migrate.source import Source
from app.migrate.tables import Table
from app.migrate.target import Connect, Link

Say = Callable[[str], None]

JOBS = 2


@dataclass(frozen=True)
class Compared:
    """One table."""

    name: str
    there: Digest
    here: Digest | None
    why: str = ""
    """What the copy says of it, where its rows did not come over."""
    rows: tuple[Row, ...] = ()

    @property
    def same(self) -> bool:
        return self.there == self.here


@dataclass(frozen=True)
class Result:
    run: Run
    moment: Moment
    began: datetime
    ended: datetime
    tables: tuple[Compared, ...]
    definitions: tuple[Difference, ...]
    outcomes: tuple[Told, ...]

    @property
    def differing(self) -> list[Compared]:
        """Tables that are not the same, and that the copy says nothing of."""
        return [each for each in self.tables if not each.same and not each.why]

    @property
    def unexplained(self) -> list[Difference]:
        return [each for each in self.definitions if not each.why]

    @property
    def same(self) -> bool:
        """Whether everything is the same that the copy did not name."""
        return not self.differing and not self.unexplained

    @property
    def untouched(self) -> bool:
        """Whether nothing at all was written at the source since it was copied."""
        return self.run.snapshot == self.moment.state

    def document(self) -> dict[str, Any]:
        """As JSON has it, and as it is signed."""
        return {
            "id": f"migration-{self.began:%Y%m%dT%H%M%SZ}",
            "migration": self.run.id,
            "source": self.run.source,
            "same": self.same,
            "began": self.began.isoformat(),
            "ended": self.ended.isoformat(),
            "source_lsn": self.moment.lsn,
            "copied_at_lsn": self.run.lsn,
            "source_untouched_since_copy": self.untouched,
            "rows": sum(each.there.rows for each in self.tables),
            "counts": {
                "tables": len(self.tables),
                "tables_same": sum(each.same for each in self.tables),
                "definitions_that_differ": len(self.definitions),
                "of_these_not_explained": len(self.unexplained),
            },
            "tables": [
                {
                    "name": each.name,
                    "same": each.same,
                    "source": asdict(each.there),
                    "target": asdict(each.here) if each.here else None,
                    "why": each.why,
                    "rows": [asdict(row) for row in each.rows],
                }
                for each in self.tables
            ],
            "definitions": [asdict(each) for each in self.definitions],
            "objects": [
                {"kind": each.kind, "name": each.name, "outcome": each.words, "why": each.why} for each in self.outcomes
            ],
        }


def verify(
    source: Source, connect: Connect, say: Say, jobs: int = JOBS, *, moment: Moment | None = None, serving: bool = False
) -> Result:
    """Compare what was copied; nothing is changed on either side.

    Args:
        moment: of the source, which somebody holds and of which the rows here are.
        serving: the source does, so that its sequences go on.

    Raises:
        Refused: nothing was copied yet, or a side is gone.
    """
    began = datetime.now(UTC)
    with connect() as link, source.connect() as holder:
        link.autocommit = True
        run = journal.run(link)
        if run is None or run.state != "copied":
            raise Refused("is not copied yet", "migration", "maia migrate copy --source FILE")
        if run.source != source.name:
            raise Refused(f"was begun from {run.source}", "migration", "name that source's file")
        if moment:
            flow.join(holder, moment)
        else:
            moment = flow.hold(holder)
        told = journal.outcomes(link)
        faults: dict[int, str] = dict(link.execute("select oid::bigint, fault from maia_migrate.tables").fetchall())
        say("definitions")
        holder.execute("set local search_path = pg_catalog")
        link.execute(digest.SESSION.encode())
        there = [table for table in tables.read(holder) if table.oid in faults]
        here = {table.full: table for table in tables.read(link)}
        schemas = sorted({table.schema for table in there})
        wanted = shape.read(holder, schemas)
        if not run.selection.whole:
            names = {table.full for table in there}
            wanted = {piece: text for piece, text in wanted.items() if piece.object.partition(" ")[0] in names}
        found = shape.read(link, schemas)
        if holder.info.server_version // 10000 != link.info.server_version // 10000:
            wanted = shape.respelled(link, wanted, found)
        definitions = shape.compare(wanted, found, told, serving=serving)
        compared = _Comparison(source, connect, moment, say, len(there)).all(there, here, faults, jobs)
    return Result(run, moment, began, datetime.now(UTC), tuple(compared), tuple(definitions), tuple(told))


class _Comparison:
    def __init__(self, source: Source, connect: Connect, moment: Moment, say: Say, total: int) -> None:
        self.source, self.connect, self.moment, self.say, self.total = source, connect, moment, say, total
        self._lock = threading.Lock()
        self._done = 0

    def all(self, there: list[Table], here: dict[str, Table], faults: dict[int, str], jobs: int) -> list[Compared]:
        largest = iter(sorted(there, key=lambda table: -table.size))
        found: list[Compared] = []

        def work() -> None:
            with self.source.connect() as source, self.connect() as target:
                flow.join(source, self.moment)
                source.execute(digest.SESSION.encode())
                target.execute(digest.SESSION.encode())
                target.execute("set default_transaction_isolation = 'repeatable read'")
                target.commit()
                found.extend(
                    self._one(source, table, target, here.get(table.full), faults[table.oid])
                    for table in largest  # which all share
                )

        with ThreadPoolExecutor(jobs) as pool:
            for future in [pool.submit(work) for _ in range(jobs)]:
                future.result()
        return sorted(found, key=lambda each: each.name)

    def _one(self, source: Link, there: Table, target: Link, here: Table | None, fault: str) -> Compared:
        with self._lock:
            self._done += 1
            self.say(f"{self._done} of {self.total}: {there.full}")
        before = digest.of(source, there)
        if here is None:
            return Compared(there.full, before, None, fault)
        with target.transaction():
            after = digest.of(target, here)
            rows = () if before == after or fault else tuple(differing.rows(source, there, target, here))
        return Compared(there.full, before, after, fault, rows)
