"""The target kept current while the source serves; and the source while the target does, until that is final."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from time import monotonic

from app.migrate import digest, ends, following, freeze, journal, shape, slots, verify, way
from app.migrate.ends import End
from app.migrate.flow import Moment
from app.migrate.following import Following
from app.migrate.journal import Run
from app.migrate.refused import Refused
from app.migrate.source import Source
from app.migrate.target import Connect, Link
from app.migrate.verify import Result
from app.migrate.way import Gone, Lag, Unfollowed, Way

Say = Callable[[str], None]
Wait = Callable[[float], bool]
"""Waits so many seconds; whether to go on then."""

PAUSE = 2.0
"""Seconds between two looks at a source that says nothing."""
COMPARED = 300.0
"""Seconds between two comparisons of tables that no slot tells of."""


@dataclass(frozen=True)
class Sync:
    """Following of one migration.

    Args:
        connect: a superuser's connection to the appliance's database.
    """

    source: Source
    connect: Connect
    say: Say
    jobs: int = 2

    def run(self, wait: Wait) -> None:
        """Follow until ``wait`` says that it is enough; broken off, the same again goes on.

        Raises:
            Refused: it cannot begin or go on, and why; what was written stays.
        """
        with self.alone() as (link, run):
            found, compared = self._begun(link, run), 0.0
            if found.state not in ("following", "serving") or (found.state == "serving" and not found.way_back):
                raise Refused(f"is {found.state}: {found.serves} serves", "migration", "maia migrate status")
            if found.state == "following":
                following.note(link, altered=self._altered(link, run))
            while True:
                if due := monotonic() >= compared:
                    compared = monotonic() + COMPARED
                self._round(link, run, found, compare=due)
                if not wait(PAUSE):
                    return
                found = self._begun(link, run)

    def stop(self) -> None:
        """Take away what following made at the source; the rows here stay as they are, and may be written to.

        Raises:
            Refused: a cutover was begun.
        """
        with self.alone() as (link, run):
            found = following.read(link)
            if found and found.state not in following.AHEAD:
                raise Refused(f"is {found.state}: {found.serves} serves", "migration", "maia migrate rollback")
            self.forward(link, run).close()
            forget(link)

    @contextmanager
    def alone(self) -> Iterator[tuple[Link, Run]]:
        """The journal, and nobody else at work on it.

        Raises:
            Refused: somebody is, or nothing was copied.
        """
        with self.connect() as link:
            link.autocommit = True
            journal.lock(link)
            yield link, following.copied(link, self.source.name)

    # -- both ways ----------------------------------------------------------------------------------------------------

    def there(self) -> End:
        return ends.old(self.source)

    def here(self, run: Run) -> End:
        return ends.here(self.connect, run.path)

    def forward(self, link: Link, run: Run) -> Way:
        return Way(self.there(), self.here(run), following.slot(run), following.tables(link), self.say, self.jobs)

    def back(self, link: Link, run: Run) -> Way:
        name = following.slot(run, back=True)
        return Way(self.here(run), self.there(), name, following.tables(link), self.say, self.jobs)

    # -- the steps ----------------------------------------------------------------------------------------------------

    def _begun(self, link: Link, run: Run) -> Following:
        found = following.read(link)
        if found is None or found.state in ("joining", "returned"):
            self.join(link, run)
            found = following.read(link)
        assert found
        return found

    def join(self, link: Link, run: Run, why: str = "") -> None:
        """Bring all rows to the moment from which changes come; again, where that was broken off."""
        route = self.forward(link, run)
        with link.transaction():
            following.begin(link)
            ends.mover(link)
        freeze.target(link, route.names)
        try:
            others, moment = route.open()
        except Unfollowed as unfollowed:
            reason = str(unfollowed)
            self.say(f"tables are compared again and again, as the source does not let itself be followed: {reason}")
            with way.held(route.origin) as moment:
                route.compare(moment, route.names)
            others = dict.fromkeys(route.names, reason)
            following.note(link, slotted=False, why=reason)
        with link.transaction():
            if why:
                following.note(link, why=why)
            following.compared(link, route.slot, others)
            following.at(link, moment.state, moment.lsn)
            following.enter(link, "following")

    def _altered(self, link: Link, run: Run) -> list[str]:
        """Definitions that the source has otherwise now than what was copied."""
        outcomes = journal.outcomes(link)
        with closing(self.source.connect()) as there, closing(self.connect()) as here:
            there.execute(digest.SESSION.encode())
            here.execute(digest.SESSION.encode())
            names = following.tables(link)
            schemas = following.schemas(link)
            wanted = shape.read(there, schemas)
            if not run.selection.whole:
                wanted = {piece: text for piece, text in wanted.items() if piece.object.partition(" ")[0] in names}
            found = shape.compare(wanted, shape.read(here, schemas), outcomes, serving=True)
        return [f"{each.kind} {each.name} is {each.what} here" for each in found if not each.why]

    def _round(self, link: Link, run: Run, found: Following, *, compare: bool) -> None:
        route = self.forward(link, run) if found.state == "following" else self.back(link, run)
        lag = Lag(0, None, 0.0)
        if found.slotted:
            try:
                lag = route.catch_up()
            except Gone as gone:
                self._anew(link, run, found, gone)
                return
        if compare and (others := following.uncovered(link, route.slot)):
            with way.held(route.origin) as moment:
                route.compare(moment, others)
        self._note(link, route, lag)

    def _anew(self, link: Link, run: Run, found: Following, gone: Gone) -> None:
        if found.state != "following":
            raise Refused(
                str(gone), f"slot {self.back(link, run).slot}", "maia migrate rollback compares all rows instead"
            ) from None
        why = f"slot {self.forward(link, run).slot} {gone}: all rows were compared anew"
        self.say(why)
        self.join(link, run, why)

    def _note(self, link: Link, route: Way, lag: Lag) -> None:
        with closing(route.origin.read()) as reader:
            held = slots.held(reader, route.slot)
        following.note(link, behind=lag.bytes, held=held.bytes if held else None)
        link.execute("update maia_migrate.following set seen_at = clock_timestamp()")
        if lag.latest:
            following.note(link, latest=lag.latest)
        room = f", and the server drops it in {held.room >> 20} MiB" if held and held.room is not None else ""
        self.say(
            f"{lag.bytes} bytes and {lag.seconds:.0f} s behind"
            + (f"; its slot holds back {held.bytes >> 20} MiB of WAL{room}" if held else "")
        )

    # -- one moment ---------------------------------------------------------------------------------------------------

    @contextmanager
    def point(self, link: Link, run: Run) -> Iterator[Moment]:
        """All rows here as the source has them at one moment, which is held meanwhile.

        Raises:
            Refused: it cannot be reached.
        """
        found = following.read(link)
        route = self.forward(link, run)
        if found and found.slotted:
            try:
                with route.point(following.uncovered(link, route.slot)) as moment:
                    following.at(link, moment.state, moment.lsn)
                    yield moment
                return
            except Gone as gone:
                raise Refused(str(gone), f"slot {route.slot}", "maia migrate sync compares all rows anew") from None
        with way.held(route.origin) as moment:
            route.compare(moment, route.names)
            following.at(link, moment.state, moment.lsn)
            yield moment

    def verify(self) -> Result:
        """Compare both sides, at one moment where the source is followed.

        Raises:
            Refused: nothing was copied yet, a side is gone, or the source does not serve any more.
        """
        with self.connect() as link:
            link.autocommit = True
            following.copied(link, self.source.name)
            if following.read(link) is None:
                return verify.verify(self.source, self.connect, self.say)
        with self.alone() as (link, run):
            found = following.read(link)
            if found is None or found.state != "following":
                what = f"is {found.state}: {found.serves} serves" if found else "is not followed any more"
                raise Refused(what, "migration", "cutover and rollback compare by themselves")
            with self.point(link, run) as moment:
                result = verify.verify(self.source, self.connect, self.say, moment=moment, serving=True)
            following.note(link, verified_at=result.ended if result.same else None)
            return result


def forget(link: Link) -> None:
    """What following made here."""
    freeze.open_target(link)
    link.execute("set client_min_messages = error")
    link.execute(f"drop role if exists {ends.MOVER}".encode())
    if following.read(link):
        following.end(link)
