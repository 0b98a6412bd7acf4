"""Rows of one end kept what the other end's are: by its slot, and by comparing what no slot tells of."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from secrets import token_hex

from app.migrate import delta, digest, flow, pgoutput, slots, tables
from app.migrate.apply import Applier, Changed
from app.migrate.ends import End, Link
from app.migrate.flow import Moment
from app.migrate.pgoutput import Begin, Commit, Delete, Insert, Relation, Truncate, Update
from app.migrate.refused import LOST, Refused, told
from app.migrate.tables import Table

Say = Callable[[str], None]

REACHED = (Path(__file__).parent / "reached.sql").read_text()
ROUNDS = 20
"""How often what came meanwhile is fetched before an end is said to be written to faster than it is read."""
NEAR = 16 << 20
"""Bytes of WAL that are as good as none."""


class Unfollowed(Exception):
    """An end, or what stands before it, does not let itself be followed; and why."""


class Gone(Exception):
    """The slot is not there any more, or its WAL."""


@dataclass(frozen=True)
class Lag:
    """How far one end is behind the other.

    Args:
        bytes: of WAL that are not read yet.
        latest: when the last change that came was made; none where none came.
        seconds: by which that is older than the other end's clock; nothing where all came.
    """

    bytes: int
    latest: datetime | None
    seconds: float


@dataclass
class _Came:
    """How far one batch goes."""

    place: int
    latest: datetime | None = None


@dataclass(frozen=True)
class Way:
    """From one end to the other.

    Args:
        slot: the name of the slot, and of the publication, at its beginning.
        names: tables that are kept the same.
        jobs: how many are compared side by side.
    """

    origin: End
    end: End
    slot: str
    names: Collection[str]
    say: Say
    jobs: int = 2

    # -- its beginning and its end ------------------------------------------------------------------------------------

    def open(self) -> tuple[dict[str, str], Moment]:
        """Make the slot anew, and bring the other end to exactly the rows at which it begins.

        Returns:
            Tables that it does not tell of, and why; the moment of the rows.

        Raises:
            Unfollowed: the end does not let itself be followed.
        """
        self.close()
        with ExitStack() as stack:
            try:
                others = self._publish()
                moment = stack.enter_context(slots.opened(self.origin, self.slot, lasting=True))
            except slots.REFUSALS as error:
                self.close()
                raise Unfollowed(told(error)) from None
            self.compare(moment, self.names)
            self._begin(moment.lsn)
        return others, moment

    def mark(self) -> dict[str, str]:
        """Make the slot anew where both ends are known to be the same.

        Returns:
            Tables that it does not tell of, and why.
        """
        self.close()
        try:
            others = self._publish()
        except Unfollowed as unfollowed:
            return dict.fromkeys(self.names, str(unfollowed))
        with slots.opened(self.origin, self.slot, lasting=True) as moment:
            self._begin(moment.lsn)
        return others

    def _publish(self) -> dict[str, str]:
        with closing(self.origin.change()) as link:
            found = {name: why for name, why in slots.unfit(link).items() if name in self.names}
            fit = [(table.schema, table.name) for table in self._tables(link) if found.get(table.full) == ""]
            if not fit:
                raise Unfollowed("it may tell of no table")
            slots.publish(link, self.slot, fit)
        return {name: why for name, why in found.items() if why}

    def close(self) -> None:
        """Remove what following takes at its beginning; again, where it was removed."""
        with closing(self.origin.change()) as link:
            slots.drop(link, self.slot)
            slots.retract(link, self.slot)

    def _begin(self, lsn: str) -> None:
        with closing(self.end.change()) as link:
            link.execute("set client_min_messages = error")
            link.execute(REACHED.encode())
            link.execute(
                """insert into maia_migrate.reached values (%s, %s::pg_lsn)
                   on conflict (slot) do update set lsn = excluded.lsn""",
                [self.slot, lsn],
            )

    # -- through the slot ---------------------------------------------------------------------------------------------

    def catch_up(self) -> Lag:
        """Write what was changed until now.

        Raises:
            Gone: the slot is.
            Refused: a change cannot be written, or an end is gone; the same again goes on.
        """
        with self._open() as (reader, writer):
            goal, _ = slots.now(reader)
            latest = self._until(reader, writer, goal)
            now, clock = slots.now(reader)
            seconds = (clock - latest).total_seconds() if latest and now - goal > NEAR else 0.0
            return Lag(now - goal, latest, seconds)

    def near(self) -> Lag:
        """Write until next to nothing is left.

        Raises:
            Refused: more is written all the time than comes.
        """
        for _ in range(ROUNDS):
            if (lag := self.catch_up()).bytes < NEAR:
                return lag
            self.say(f"{lag.bytes >> 20} MiB behind")
        raise Refused(f"is written to faster than it is followed: {lag.bytes >> 20} MiB behind", self.origin.word,
                      "cut over when less is written")  # fmt: skip

    @contextmanager
    def point(self, others: Collection[str]) -> Iterator[Moment]:
        """Bring all rows to one moment of the origin, which is held meanwhile; ``others`` no slot tells of."""
        self.near()
        with slots.opened(self.origin, f"{self.slot}_point_{token_hex(4)}", lasting=False) as moment:
            with self._open() as (reader, writer):
                self._until(reader, writer, pgoutput.lsn(moment.lsn))
            self.compare(moment, others)
            yield moment

    def quiet(self) -> bool:
        """Whether nothing at all waits to be written."""
        with self._open() as (reader, writer):
            row = writer.execute("select lsn::text from maia_migrate.reached where slot = %s", [self.slot]).fetchone()
            reached, later = pgoutput.lsn(row[0]) if row else 0, False
            with closing(slots.changes(reader, self.slot, slots.now(reader)[0])) as messages:
                for message in messages:
                    if isinstance(message, Begin):
                        later = message.lsn >= reached
                    elif later and isinstance(message, Insert | Update | Delete | Truncate):
                        return False
            return True

    @contextmanager
    def _open(self) -> Iterator[tuple[Link, Link]]:
        try:
            with closing(self.origin.read()) as reader, closing(self.end.write()) as writer:
                held = slots.held(reader, self.slot)
                if held is None or held.status == "lost":
                    raise Gone("is gone" if held is None else "lost its WAL, which the server had no room for")
                slots.free(reader, self.slot)
                path = (writer.execute("show search_path").fetchone() or ("",))[0]
                writer.execute(digest.SESSION.encode())
                writer.execute("select set_config('search_path', %s, false)", [path])
                yield reader, writer
        except LOST as error:
            raise Refused(
                f"went away: {' '.join(str(error).split())}", self.origin.word, "run the same again: nothing is lost"
            ) from None

    def _until(self, reader: Link, writer: Link, goal: int) -> datetime | None:
        """Write every transaction that was committed before a place in the log."""
        latest = None
        known = {table.full: table for table in self._tables(writer)}
        while True:
            row = writer.execute("select lsn::text from maia_migrate.reached where slot = %s", [self.slot]).fetchone()
            if row is None:
                raise Gone("has no place noted for it")
            reached = pgoutput.lsn(row[0])
            if reached >= goal:
                return latest
            came = _Came(reached)
            try:
                self._some(reader, writer, known, came, goal)
            except Changed:
                if came.place == reached:
                    raise
                # What was committed before it is of the table as it was.
                until, came = came.place, _Came(reached)
                self._some(reader, writer, known, came, until)
            latest = came.latest or latest
            slots.advance(reader, self.slot, came.place)

    def _some(self, reader: Link, writer: Link, known: dict[str, Table], came: _Came, goal: int) -> None:
        """The next transactions, and the note how far they go, in one of the other end."""
        begun, count, taken = came.place, 0, False
        with writer.transaction(), closing(slots.changes(reader, self.slot, goal)) as messages:
            writer.execute("set constraints all deferred")
            applier = Applier(self.end, writer, known)
            for message in messages:
                count += 1
                match message:
                    case Begin(lsn) if lsn >= goal:
                        count = 0
                        break
                    case Begin(lsn):
                        taken = lsn >= begun  # what was written before a kill comes once more
                    case Commit(end, at):
                        came.place, came.latest = max(came.place, end), at
                    case Relation():
                        applier.meet(message)
                    case Insert() | Update() | Delete() | Truncate() if taken:
                        applier.take(message)
            applier.write()
            if count < slots.AT_ONCE:
                came.place = goal
            writer.execute(
                "update maia_migrate.reached set lsn = %s::pg_lsn where slot = %s",
                [pgoutput.text(came.place), self.slot],
            )

    # -- by comparing -------------------------------------------------------------------------------------------------

    def compare(self, moment: Moment, names: Collection[str]) -> int:
        """Bring tables to a moment of the origin.

        Returns:
            How many rows were not the same.
        """
        with closing(self.origin.read()) as link:
            flow.join(link, moment)
            there = {table.full: table for table in self._tables(link) if table.full in names}
            link.execute("rollback")
        with closing(self.end.change()) as link:
            here = {table.full: table for table in self._tables(link)}
        queue = iter(sorted(there, key=lambda name: -there[name].size))
        done = 0

        def work() -> int:
            nonlocal done
            changed = 0
            with closing(self.origin.read()) as origin, closing(self.end.write()) as link:
                flow.join(origin, moment)
                origin.execute(digest.SESSION.encode())
                for name in queue:  # which all share
                    done += 1
                    self.say(f"{done} of {len(there)}: is {name} the same?")
                    if name not in here:
                        raise Refused(f"is not at the {self.end.word}", name, "make it there and run the same again")
                    changed += delta.bring(self.origin, origin, there[name], self.end, link, here[name])
            return changed

        with ThreadPoolExecutor(self.jobs) as pool:
            return sum(future.result() for future in [pool.submit(work) for _ in range(self.jobs)])

    def _tables(self, link: Link) -> list[Table]:
        with link.transaction():
            link.execute("set local search_path = pg_catalog")
            return tables.read(link)


@contextmanager
def held(origin: End) -> Iterator[Moment]:
    """A moment of an end, without a slot."""
    with closing(origin.read()) as holder:
        yield flow.hold(holder)
