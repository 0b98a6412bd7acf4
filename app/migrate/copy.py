"""The copy from its beginning to its end, begun anew at the step where it was broken off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from app.migrate import flow, inventory, journal, making, pieces, plan, scope, sequences, target, views
from app.migrate.dump import Entry, arguments, take_apart
from app.migrate.inventory import Inventory
from app.migrate.journal import Run, Told
from app.migrate.plan import Plan
from app.migrate.refused import Refused
from app.migrate.rows import Rows
from app.migrate.scope import Selection
from app.migrate.source import Source
from app.migrate.target import Connect, Link, opened, serious

Say = Callable[[str], None]
Dump = Callable[[Source, Sequence[str]], str]
"""Runs pg_dump on the source with these arguments, and gives what it writes."""

PATH = '"$user", public, extensions'
JOBS = 4
CALLS = """
select a.adrelid::bigint, pg_get_expr(a.adbin, a.adrelid) from pg_attrdef a
join pg_depend d on d.classid = 'pg_attrdef'::regclass and d.objid = a.oid and d.refclassid = 'pg_proc'::regclass
join pg_proc p on p.oid = d.refobjid where p.pronamespace::regnamespace::text = any(%s) and not exists (
  select from pg_depend e where e.classid = 'pg_proc'::regclass and e.objid = p.oid and e.deptype = 'e')
"""


@dataclass(frozen=True)
class Copy:
    """One migration's copy.

    Args:
        connect: a superuser's connection to the appliance's database.
        dump: pg_dump of the target's version.
        room: bytes that are free where the target lies.
    """

    source: Source
    connect: Connect
    dump: Dump
    chosen: Selection
    room: int | None
    say: Say
    jobs: int = JOBS

    def run(self) -> list[Told]:
        """Go on from where it is to the end.

        Returns:
            What became of each object.

        Raises:
            Refused: it cannot begin or go on, and why; what was done stays.
        """
        with self.connect() as link:
            link.autocommit = True
            journal.lock(link)
            found = journal.run(link) or self._begin(link)
            self._same(found)
            steps = {"schema": self._schema, "rows": self._rows, "indexes": self._indexes, "rest": self._rest}
            for state in journal.STATES[journal.STATES.index(found.state) : -1]:
                steps[state](link, found)
            return journal.outcomes(link)

    def _same(self, found: Run) -> None:
        if found.source != self.source.name:
            raise Refused(f"was begun from {found.source}", "migration", "name that source's file")
        if found.selection != self.chosen:
            raise Refused("was begun for other schemas or tables", "migration", "name the same ones")

    # -- the beginning ----------------------------------------------------------------------------------------------

    def _begin(self, link: Link) -> Run:
        self.say("looking at both sides")
        made = plan.make(self.source, link, self.chosen, self.room)
        if made.refusals:
            raise made.refusals[0]
        self.say("reading the definitions")
        entries, defaults = self._read(made)
        rules = pieces.Rules(
            {each.key: each for each in made.verdicts if each.key != (0, 0)},
            made.target, self.chosen, target.members(link, made.found), defaults,
        )  # fmt: skip
        judged = pieces.judge(entries, rules)
        seen = {entry.key for entry in entries}
        # What is moved and has no piece of its own is said in the piece of its table.
        beside = [
            each for each in made.verdicts if each.key == (0, 0) or (each.key not in seen and each.outcome != "moved")
        ]
        with link.transaction():
            journal.begin(
                link, self.source.name, self.chosen, made.document(), _path(made.found), judged, beside,
                [(table, flow.split(table)) for table in made.taken],
            )  # fmt: skip
            journal.owner(link)
            wanted = {role for roles in made.found.policies.values() for role in roles if role != "public"}
            target.roles(link, {role for role in wanted | pieces.grantees(judged) if not pieces.NOBODYS.match(role)})
            owner = sql.Identifier(scope.OWNER)
            link.execute(sql.SQL("grant usage, create on schema public, auth to {}").format(owner))
            link.execute(sql.SQL("grant usage on schema extensions to {}").format(owner))
        found = journal.run(link)
        assert found
        return found

    def _read(self, made: Plan) -> tuple[list[Entry], dict[int, list[str]]]:
        with self.source.connect() as holder:
            moment = flow.hold(holder)
            text = self.dump(self.source, arguments(made.found.tables, moment.name))
            holder.execute("set local search_path = ''")
            defaults: dict[int, list[str]] = {}
            for table, expression in holder.execute(CALLS, [sorted(scope.PLATFORM)]):
                defaults.setdefault(table, []).append(expression)
        return take_apart(text), defaults

    # -- the steps --------------------------------------------------------------------------------------------------

    def _schema(self, link: Link, found: Run) -> None:
        with opened(self.connect, found.path) as maker:
            making.early(maker, self.say)
            unmade = maker.execute(
                """select t.oid, t.schema, t.name from maia_migrate.tables t
                   where to_regclass(format('%I.%I', t.schema, t.name)) is null"""
            ).fetchall()
            for oid, schema, name in unmade:
                why = maker.execute(
                    "select why from maia_migrate.objects where kind = 'TABLE' and schema = %s and name = %s",
                    [schema, name],
                ).fetchone()
                fault = f"the table could not be made: {why[0] if why else ''}"
                maker.execute("update maia_migrate.tables set fault = %s where oid = %s", [fault, oid])
        journal.enter(link, "rows")

    def _rows(self, link: Link, found: Run) -> None:
        moment = Rows(self.source, self.connect, found.path, self.jobs, self.say).copy()
        journal.loaded(link, moment.state, moment.lsn)

    def _indexes(self, link: Link, found: Run) -> None:
        making.late(self.connect, found.path, self.jobs, self.say)
        journal.enter(link, "rest")

    def _rest(self, link: Link, found: Run) -> None:
        """What has no piece of its own: how far sequences are, views that hold rows, settings, statistics."""
        with self.source.connect() as reader:
            placed = sequences.read(reader)
            populated = views.populated(reader)
            settings = reader.execute(inventory.SETTINGS).fetchall()
        with opened(self.connect, found.path) as maker:
            sequences.place(maker, placed)
            views.refresh(maker, populated, self.say)
            moved = {
                each.name for each in journal.outcomes(maker) if each.kind == "setting" and each.outcome == "moved"
            }
            for name, why in target.settings(
                maker, settings, {name.removesuffix(" of the database") for name in moved}
            ):
                maker.execute(
                    "update maia_migrate.beside set outcome = 'left', why = %s where kind = 'setting' and name = %s",
                    [why, f"{name} of the database"],
                )
            self.say("statistics")
            self._analyze(maker)
        journal.enter(link, "copied")

    def _analyze(self, link: Link) -> None:
        for (name,) in link.execute(
            "select format('%I.%I', schema, name) from maia_migrate.tables where fault = '' order by bytes desc"
        ).fetchall():
            try:
                link.execute(f"analyze {name}".encode())
            except psycopg.Error as error:
                serious(error)  # an index whose function does not say where names are looked up


def _path(found: Inventory) -> str:
    """Where the source looks names up, for functions that rely on it."""
    return next((value for role, name, value in found.settings if not role and name == "search_path" and value), PATH)
