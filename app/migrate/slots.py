"""What makes an end tell of its changes: a publication and a slot, which is the one thing that holds back its WAL."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg import sql

from app.migrate import digest, flow, pgoutput
from app.migrate.ends import PATIENT, End, Link
from app.migrate.flow import Moment
from app.migrate.refused import Refused

AT_ONCE = 20_000
"""Changes that are asked for at once; a transaction comes whole, row by row."""
PATIENCE = 30.0
"""Seconds within which the session of one that was killed ends."""
FOLLOWABLE = """
select n.nspname || '.' || c.relname,
  case when c.relpersistence <> 'p' then 'is not in the log'
    when not exists (select from pg_index i where i.indrelid = c.oid and case c.relreplident
      when 'n' then false when 'i' then i.indisreplident else i.indisprimary and i.indimmediate end)
      then 'has no key'
    when not pg_has_role(c.relowner, 'usage') then 'belongs to ' || c.relowner::regrole
    else '' end
from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.relkind = 'r'
"""
PEEK = """
select data from pg_logical_slot_peek_binary_changes(%s, %s::pg_lsn, %s,
  'proto_version', '1', 'publication_names', %s)
"""
HELD = """
select s.wal_status::text, pg_wal_lsn_diff(now.lsn, s.restart_lsn)::bigint, s.safe_wal_size
from pg_replication_slots s, pg_current_wal_lsn() now (lsn) where s.slot_name = %s and s.database = current_database()
"""
READERS = "select active_pid from pg_replication_slots where slot_name = %s and active_pid is not null"
REFUSALS = (psycopg.OperationalError, psycopg.errors.InsufficientPrivilege, psycopg.errors.ObjectNotInPrerequisiteState,
            psycopg.errors.FeatureNotSupported)  # fmt: skip
"""Why a server, or what stands before it, does not let itself be followed."""


@dataclass(frozen=True)
class Held:
    """What a slot keeps from being removed.

    Args:
        status: Postgres's word; ``lost`` is for good.
        room: bytes until it is; none where the server does not bound it.
    """

    status: str
    bytes: int
    room: int | None


def unfit(link: Link) -> dict[str, str]:
    """Each table with why it cannot be followed; empty where it can."""
    return dict(link.execute(FOLLOWABLE).fetchall())


def publish(link: Link, name: str, tables: Sequence[tuple[str, str]]) -> None:
    """Say whose changes are told; partitions are told as they are."""
    retract(link, name)
    listed = sql.SQL(", ").join(sql.SQL("only {}").format(sql.Identifier(*table)) for table in tables)
    link.execute(sql.SQL("create publication {} for table {}").format(sql.Identifier(name), listed))


def retract(link: Link, name: str) -> None:
    link.execute("set client_min_messages = error")
    link.execute(sql.SQL("drop publication if exists {}").format(sql.Identifier(name)))


@contextmanager
def opened(end: End, name: str, *, lasting: bool) -> Iterator[Moment]:
    """Make a slot, and hold the rows as they are where it begins; one that does not last is gone by then."""
    with closing(end.read()) as holder:
        with closing(end.stream()) as link:
            for each in PATIENT:
                link.execute(each)
            kind = sql.SQL("" if lasting else "TEMPORARY ")
            made = link.execute(
                sql.SQL("CREATE_REPLICATION_SLOT {} {}LOGICAL pgoutput EXPORT_SNAPSHOT").format(
                    sql.Identifier(name), kind
                )
            ).fetchone()
            assert made
            flow.join(holder, Moment(made[2], "", made[1]))
        found = holder.execute("select pg_export_snapshot(), pg_current_snapshot()::text").fetchone()
        assert found
        yield Moment(found[0], found[1], made[1])


def free(link: Link, name: str) -> None:
    """End whoever reads from it: what a run that was killed has left.

    Raises:
        Refused: they do not end.
    """
    end = time.monotonic() + PATIENCE
    while busy := link.execute(READERS, [name]).fetchall():
        for (pid,) in busy:
            link.execute("select pg_terminate_backend(%s)", [pid])
        if time.monotonic() > end:
            raise Refused("is read by another session", f"slot {name}", "end that, and run the same again")
        time.sleep(0.1)


def drop(link: Link, name: str) -> None:
    """Let go of the WAL."""
    free(link, name)
    link.execute("select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = %s", [name])


def held(link: Link, name: str) -> Held | None:
    """How much WAL it holds back; none where there is no such slot."""
    row = link.execute(HELD, [name]).fetchone()
    return Held(row[0], row[1] or 0, row[2]) if row else None


def changes(link: Link, name: str, upto: int) -> Generator[pgoutput.Message | None, None, None]:
    """Transactions that were committed until a place in the log, whole, in the order of their commits.

    They are all of them where fewer than ``AT_ONCE`` messages come, those counted too that say nothing of rows.
    """
    with link.transaction(), link.cursor() as cursor:
        # As text, which must not depend on who asks.
        link.execute(digest.SESSION.replace("set ", "set local ").encode())
        # Row by row: one may be large.
        for (data,) in cursor.stream(PEEK, [name, pgoutput.text(upto), AT_ONCE, f'"{name}"']):
            yield pgoutput.read(data)


def advance(link: Link, name: str, place: int) -> None:
    """Have it forget what lies before a place in the log."""
    link.execute("select pg_replication_slot_advance(%s, %s::pg_lsn)", [name, pgoutput.text(place)])


def now(link: Link) -> tuple[int, datetime]:
    """How far the log is, and the end's clock."""
    row = link.execute("select pg_current_wal_flush_lsn()::text, clock_timestamp()").fetchone()
    assert row
    return pgoutput.lsn(row[0]), row[1]
