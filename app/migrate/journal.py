"""Where a migration stands, kept in the database that it fills."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from app.migrate.dump import Entry
from app.migrate.pieces import Piece
from app.migrate.refused import Refused
from app.migrate.scope import OWNER, Selection
from app.migrate.tables import Table
from app.migrate.verdicts import TOLD, Outcome, Verdict

Link = psycopg.Connection[tuple[Any, ...]]

SCHEMA = (Path(__file__).parent / "journal.sql").read_text()
LOCK = 0x4D4F5645
"""The advisory lock of whoever migrates: the letters MOVE."""
STATES = ("schema", "rows", "indexes", "rest", "copied")


@dataclass(frozen=True)
class Run:
    id: str
    source: str
    selection: Selection
    state: str
    path: str
    """Where the source looks names up."""
    snapshot: str | None
    lsn: str | None
    began: str
    copied: str | None


@dataclass(frozen=True)
class Part:
    """Pages of a table that are copied at once."""

    oid: int
    number: int
    first: int
    past: int | None


@dataclass(frozen=True)
class Told:
    """What became of an object."""

    kind: str
    name: str
    outcome: str
    why: str

    @property
    def words(self) -> str:
        """The outcome as people read it."""
        return {**TOLD, "": "not yet"}[self.outcome]


def lock(link: Link) -> None:
    """Be the only migration, for as long as the connection lasts.

    Raises:
        Refused: another one is at work.
    """
    link.execute("set lock_timeout = '5s'")  # the session of one that was killed ends in its own time
    try:
        link.execute("select pg_advisory_lock(%s)", [LOCK])
    except psycopg.errors.LockNotAvailable:
        raise Refused("another migration is at work", "target", "wait for it to end") from None
    link.execute("reset lock_timeout")


def run(link: Link) -> Run | None:
    """The migration that was begun; none where there is none."""
    if link.execute("select to_regclass('maia_migrate.run')").fetchone() == (None,):
        return None
    row = link.execute(
        """select id::text, source, selection, state, path, snapshot, lsn::text, began_at::text, copied_at::text
           from maia_migrate.run"""
    ).fetchone()
    if row is None:
        return None
    identity, source, chosen, *rest = row
    return Run(identity, source, Selection.of(chosen["schemas"], chosen["tables"]), *rest)


def begin(
    link: Link,
    source: str,
    chosen: Selection,
    plan: dict[str, Any],
    path: str,
    pieces: Iterable[Piece],
    beside: Iterable[Verdict],
    tables: Iterable[tuple[Table, Sequence[Part]]],
) -> None:
    """Write down what is to be done; to be called in a transaction."""
    link.execute(SCHEMA.encode())
    link.execute(
        "insert into maia_migrate.run (source, selection, plan, path) values (%s, %s, %s, %s)",
        [source, Jsonb({"schemas": sorted(chosen.schemas), "tables": sorted(chosen.tables)}), Jsonb(plan), path],
    )
    with link.cursor() as cursor:
        cursor.executemany(
            "insert into maia_migrate.objects values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [
                (e.number, place, e.kind, e.schema, e.name, list(e.needs), e.early, e.text, p.change, p.outcome, p.why)
                for place, (e, p) in enumerate((piece.entry, piece) for piece in pieces)
            ],
        )
        cursor.executemany(
            "insert into maia_migrate.beside values (%s, %s, %s, %s)",
            [(each.kind, each.name, each.outcome, each.why) for each in beside],
        )
        for table, parts in tables:
            cursor.execute(
                "insert into maia_migrate.tables (oid, schema, name, bytes) values (%s, %s, %s, %s)",
                [table.oid, table.schema, table.name, table.size],
            )
            cursor.executemany(
                "insert into maia_migrate.parts (oid, number, first, past) values (%s, %s, %s, %s)",
                [(part.oid, part.number, part.first, part.past) for part in parts],
            )


def enter(link: Link, state: str) -> None:
    """Note that the next step may begin."""
    link.execute(
        """update maia_migrate.run set state = %s, copied_at = case when %s = 'copied' then clock_timestamp() end""",
        [state, state],
    )


def loaded(link: Link, snapshot: str, lsn: str) -> None:
    """Note that all rows are there, as the source had them at one moment."""
    link.execute("update maia_migrate.run set state = 'indexes', snapshot = %s, lsn = %s::pg_lsn", [snapshot, lsn])


def pending(link: Link, *, early: bool) -> list[Entry]:
    """Objects that nothing has become of yet."""
    rows = link.execute(
        """select number, needs, kind, schema, name, text from maia_migrate.objects
           where outcome is null and early = %s order by place""",
        [early],
    )
    return [Entry(n, (0, 0), tuple(needs), kind, schema, name, text) for n, needs, kind, schema, name, text in rows]


def sizes(link: Link) -> dict[str, int]:
    """Bytes of each table whose rows are copied, by its name as definitions have it."""
    return dict(link.execute("select format('%I.%I', schema, name), bytes from maia_migrate.tables").fetchall())


def became(link: Link, number: int, outcome: Outcome, why: str = "") -> None:
    link.execute(
        """update maia_migrate.objects set outcome = %s, why = concat_ws('; ', nullif(why, ''), nullif(%s, ''))
           where number = %s""",
        [outcome, why, number],
    )


def missing(link: Link) -> list[Part]:
    """Parts that are not copied yet, those of the largest tables first."""
    rows = link.execute(
        """select p.oid::bigint, p.number, p.first, p.past
           from maia_migrate.parts p join maia_migrate.tables t using (oid)
           where p.snapshot is null and t.fault = '' order by t.bytes desc, p.oid, p.number"""
    )
    return [Part(*row) for row in rows]


def parts(link: Link) -> dict[int, int]:
    """Into how many parts each table was divided."""
    return dict(link.execute("select oid::bigint, count(*) from maia_migrate.parts group by 1").fetchall())


def wanted(link: Link, oid: int) -> bool:
    """Whether no other part of the table has failed; until the transaction ends, none can."""
    query = "select fault from maia_migrate.tables where oid = %s for share"
    return link.execute(query, [oid]).fetchone() == ("",)


def copied(link: Link, part: Part, snapshot: str, rows: int) -> None:
    link.execute(
        "update maia_migrate.parts set snapshot = %s, rows = %s where oid = %s and number = %s",
        [snapshot, rows, part.oid, part.number],
    )


def stale(link: Link, snapshot: str) -> list[int]:
    """Tables with a part that was copied when the source was another one."""
    rows = link.execute(
        """select distinct p.oid::bigint from maia_migrate.parts p join maia_migrate.tables t using (oid)
           where p.snapshot <> %s and t.fault = '' order by 1""",
        [snapshot],
    )
    return [oid for (oid,) in rows]


def anew(link: Link, oid: int, table: sql.Composable, fault: str = "") -> None:
    """Forget the rows of a table, to copy it again; with a fault, not to copy it any more. In one transaction."""
    with link.transaction():
        link.execute("update maia_migrate.tables set fault = %s where oid = %s", [fault, oid])
        link.execute("update maia_migrate.parts set snapshot = null, rows = null where oid = %s", [oid])
        link.execute(sql.SQL("truncate only {}").format(table))


def progress(link: Link) -> tuple[int, int, int]:
    """Parts that are copied, all parts, rows that are copied."""
    row = link.execute(
        "select count(snapshot), count(*), coalesce(sum(rows), 0)::bigint from maia_migrate.parts"
    ).fetchone()
    assert row
    return row[0], row[1], row[2]


def outcomes(link: Link) -> list[Told]:
    """What became of everything: objects, rows, and what is beside them."""
    rows = link.execute(
        """select lower(kind), concat_ws('.', nullif(schema, ''), name), coalesce(outcome, ''), why
             from maia_migrate.objects
           union all select kind, name, outcome, why from maia_migrate.beside
           union all select 'rows', schema || '.' || name, case fault when '' then 'moved' else 'left' end, fault
             from maia_migrate.tables
           order by 1, 2"""
    )
    return [Told(*row) for row in rows]


def owner(link: Link) -> None:
    """The role that owns what comes over, with what it needs for that."""
    link.execute(
        sql.SQL(
            """do $$ begin if not exists (select from pg_roles where rolname = {name}) then
                 create role {role} nologin noinherit; end if; end $$;
               comment on role {role} is 'owns what was moved here; nobody logs in as it';
               grant create on database {database} to {role}"""
        ).format(name=sql.Literal(OWNER), role=sql.Identifier(OWNER), database=sql.Identifier(link.info.dbname))
    )
