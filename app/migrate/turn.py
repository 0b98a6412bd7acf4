"""Who serves: the source until the cutover, the appliance then, and the source again where that is taken back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import psycopg

from app.migrate import ends, following, freeze, sequences, target, verify, views, way
from app.migrate.flow import Moment
from app.migrate.following import Following
from app.migrate.journal import Run
from app.migrate.refused import Refused, told
from app.migrate.sync import Sync, forget
from app.migrate.target import Link
from app.migrate.verify import Result
from app.migrate.way import Gone

Report = Callable[[Result], str]
"""Keeps what was found, and says where."""

UNWRITABLE = """
select n.nspname || '.' || c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
where (c.relkind = 'r' and n.nspname || '.' || c.relname = any(%s) and not (
    has_table_privilege(c.oid, 'insert') and has_table_privilege(c.oid, 'update')
    and has_table_privilege(c.oid, 'delete')))
  or (c.relkind = 'S' and n.nspname = any(%s) and not has_sequence_privilege(c.oid, 'update')) order by 1
"""
NEWER = """
select n.nspname || '.' || c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'r' and n.nspname in (select schema from maia_migrate.tables)
  and not exists (select from maia_migrate.tables t where (t.schema, t.name) = (n.nspname, c.relname))
  and not exists (
    select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
order by 1
"""
BACK_AT_SOURCE = "drop table if exists maia_migrate.reached; drop schema if exists maia_migrate"


@dataclass(frozen=True)
class Turn:
    """The steps of one migration that say who serves."""

    sync: Sync
    report: Report

    def cutover(self, *, frozen: bool = False, way_back: bool = True) -> Following:
        """Stop writes at the source, bring over what is left, compare, and serve here.

        Args:
            frozen: a person answers for what cannot be frozen from here.
            way_back: what is written here flows back, so that a rollback loses nothing.

        Raises:
            Refused: it is not time, or something differs; the source serves on.
        """
        with self.sync.alone() as (link, run):
            found = following.read(link)
            if found is None or found.state not in ("following", "freezing", "frozen", "turning", "serving"):
                raise Refused("does not follow its source", "migration", "maia migrate sync --source FILE")
            if found.state == "following":
                self._ready(link, run, found, way_back=way_back)
                following.note(link, by_hand=frozen, way_back=way_back)
                following.enter(link, "freezing")
            if found.state in ("following", "freezing"):
                self._freeze(link)
                following.enter(link, "frozen")
            if found.state in ("following", "freezing", "frozen"):
                self._over(link, run)
                following.enter(link, "turning")
            if found.state != "serving":
                self.sync.forward(link, run).close()
                freeze.open_target(link)
                following.enter(link, "serving")
            return _now(link)

    def rollback(self) -> Following:
        """Return to the source: with what was written here, or, before the cutover's end, as if it had not begun.

        Raises:
            Refused: there is no way back, or something differs; nothing is lost.
        """
        with self.sync.alone() as (link, run):
            found = following.read(link)
            if found and found.state in ("freezing", "frozen"):
                self._take_back(link, run)
            elif found and found.state in ("serving", "returning", "opening") and found.way_back:
                if found.state != "opening":
                    following.enter(link, "returning")
                    self._return(link, run)
                    following.enter(link, "opening")
                self._open_source(link)
                self._clear(link, run)
                following.enter(link, "returned")
            elif found is None or found.state != "returned":
                what = "the appliance does not serve" if found is None or found.way_back else "it was given up"
                raise Refused(f"there is no way back: {what}", "migration", "maia migrate status")
            return _now(link)

    def finalize(self) -> Following:
        """Give up the way back, and with it all that following made at either end.

        Raises:
            Refused: the cutover is not made.
        """
        with self.sync.alone() as (link, run):
            found = following.read(link)
            if found is None or found.state not in ("serving", "returned", "final"):
                raise Refused("the appliance does not serve", "migration", "maia migrate cutover --source FILE")
            self.sync.back(link, run).close()
            try:
                self._clear(link, run)
            except Refused as refused:  # it may be gone by now; no slot of ours is left there
                following.note(link, why=f"schema maia_migrate was left at the source: {refused}")
            if found.state == "returned":
                forget(link)
                return found
            following.enter(link, "final")
            return _now(link)

    # -- cutover ------------------------------------------------------------------------------------------------------

    def _ready(self, link: Link, run: Run, found: Following, *, way_back: bool) -> None:
        if found.verified is None:
            raise Refused(
                "was not found the same since it is followed", "migration", "maia migrate verify --source FILE"
            )
        if way_back:
            self._returnable(link)
        if found.slotted:
            try:
                self.sync.forward(link, run).near()
            except Gone as gone:
                raise Refused(str(gone), "slot", "maia migrate sync --source FILE compares all rows anew") from None

    def _returnable(self, link: Link) -> None:
        """Whether the source lets the way back write to it."""
        names = following.tables(link)
        mend = "grant it, or name a role that may in the source's file; cutover --one-way goes without a way back"
        try:
            with closing(self.sync.there().write()) as there:
                closed = [name for (name,) in there.execute(UNWRITABLE, [list(names), following.schemas(link)])]
                made = there.execute("select has_database_privilege(current_database(), 'create')").fetchone()
        except Refused as refused:
            raise Refused(refused.what, refused.where, f"{refused.mend}; or cutover --one-way") from None
        if closed:
            raise Refused(f"the way back may not write to {', '.join(closed[:5])}", "source", mend)
        if made != (True,):
            raise Refused("the way back may not make its schema maia_migrate", "source", mend)

    def _freeze(self, link: Link) -> None:
        self.sync.say("freezing the source")
        with closing(self.sync.there().change()) as there, self._answered(link):
            freeze.source(there)

    def _over(self, link: Link, run: Run) -> None:
        """Both ends are frozen: whatever of this was broken off is made again."""
        found = _now(link)
        sync = self.sync
        with sync.point(link, run) as moment:
            with closing(sync.there().read()) as there:
                placed, populated = sequences.read(there), views.populated(there)
            with closing(sync.here(run).write()) as maker:
                sequences.place(maker, placed)
                views.refresh(maker, populated, sync.say)
            if found.way_back:
                # Before all is compared: what anybody writes here from now on is either found to differ, or flows back.
                back = sync.back(link, run)
                following.compared(link, back.slot, back.mark())
            result = verify.verify(sync.source, sync.connect, sync.say, moment=moment)
            written = self.report(result)
            if not result.same or not self._still(link, run, found, moment):
                self._take_back(link, run)
                following.note(link, verified_at=None)
                what = "differs" if not result.same else "was written to after it was frozen"
                raise Refused(f"{what}: the source serves on", "source", f"read {written}, and cut over again")

    def _still(self, link: Link, run: Run, found: Following, moment: Moment) -> bool:
        """Whether the source is as it was at that moment."""
        if found.slotted and not self.sync.forward(link, run).quiet():
            return False
        with way.held(self.sync.there()) as later:
            if later.state == moment.state:
                return True
            route = self.sync.forward(link, run)
            return route.compare(later, following.uncovered(link, route.slot)) == 0

    def _take_back(self, link: Link, run: Run) -> None:
        """As if the cutover had not begun."""
        following.enter(link, "freezing")  # a cutover that goes on from here freezes once more
        self._open_source(link)
        self.sync.back(link, run).close()
        following.enter(link, "following")

    def _open_source(self, link: Link) -> None:
        with closing(self.sync.there().change()) as there, self._answered(link):
            freeze.open_source(there)

    @contextmanager
    def _answered(self, link: Link) -> Iterator[None]:
        """What may not be done from here, a person does who said so."""
        try:
            yield
        except Refused as refused:
            if not _now(link).by_hand:
                raise
            self.sync.say(f"left to you: {refused}")

    # -- the way back -------------------------------------------------------------------------------------------------

    def _return(self, link: Link, run: Run) -> None:
        """The appliance is frozen: whatever of this was broken off is made again."""
        sync = self.sync
        back = sync.back(link, run)
        sync.say("freezing what was moved here")
        newer = [name for (name,) in link.execute(NEWER)]
        following.note(link, altered=[f"table {name} was made here and stays here" for name in newer])
        freeze.target(link, back.names)
        try:
            with back.point(following.uncovered(link, back.slot)):
                pass
        except Gone as gone:
            sync.say(f"slot {back.slot} {gone}: all rows are compared instead")
            with way.held(back.origin) as moment:
                back.compare(moment, back.names)
        with closing(sync.here(run).read()) as here, closing(sync.there().write()) as there:
            sequences.place(there, sequences.read(here))
        result = verify.verify(sync.source, sync.connect, sync.say)
        written = self.report(result)
        if result.differing:
            raise Refused(
                f"rows differ: {', '.join(each.name for each in result.differing[:5])}",
                "source",
                f"read {written}; both stay frozen, nothing is lost, and the same again goes on",
            )

    def _clear(self, link: Link, run: Run) -> None:
        """What following made at both ends."""
        self.sync.back(link, run).close()
        self.sync.forward(link, run).close()
        link.execute("set client_min_messages = error")
        link.execute(f"drop role if exists {ends.MOVER}".encode())
        try:
            with closing(self.sync.there().change()) as there:
                there.execute("set client_min_messages = error")
                there.execute(BACK_AT_SOURCE)
        except psycopg.Error as error:
            target.serious(error)
            raise Refused(told(error), "schema maia_migrate of the source", "drop it there") from None


def _now(link: Link) -> Following:
    found = following.read(link)
    assert found
    return found
