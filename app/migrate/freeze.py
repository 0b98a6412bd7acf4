"""Writes stopped at an end, and allowed again."""

from __future__ import annotations

import time
from collections.abc import Collection
from contextlib import suppress

import psycopg
from psycopg import sql

from app.migrate.ends import NAME, Link
from app.migrate.refused import Refused

PATIENCE = 30.0
"""Seconds within which sessions that were told to end do."""
SESSIONS = """
select pid, usename::text from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid() and usename is not null
  and application_name is distinct from %s and coalesce(backend_type, 'client backend') = 'client backend'
"""
PREPARED = "select gid from pg_prepared_xacts where database = current_database() limit 1"
WRITABLE = """
with named as (
  select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where c.relkind = 'r' and n.nspname || '.' || c.relname = any(%s))
select format('%%I.%%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.oid in (select oid from named union select a.relid from named, pg_partition_ancestors(named.oid) a) order by 1
"""
"""With what they are partitions of: a statement meets the triggers of the table that it names."""
TRIGGER = "maia_followed"


def source(link: Link) -> None:
    """Nothing is written to the whole database any more: new sessions only read, and there are no others.

    Raises:
        Refused: a session that may write cannot be ended.
    """
    _set(link, "set default_transaction_read_only = on")
    if row := link.execute(PREPARED).fetchone():
        raise Refused(f"transaction {row[0]!r} is prepared and neither committed nor rolled back", "source", "end it")
    for _ in range(2):  # one that began at the same moment may not be listed the first time
        _end(link)


def _end(link: Link) -> None:
    present: dict[int, str] = dict(link.execute(SESSIONS, [NAME]).fetchall())
    for pid in present:
        with suppress(psycopg.errors.InsufficientPrivilege):
            link.execute("select pg_terminate_backend(%s)", [pid])
    end = time.monotonic() + PATIENCE
    while left := {pid for pid, _ in link.execute(SESSIONS, [NAME]).fetchall()} & present.keys():
        if time.monotonic() > end:
            whose = ", ".join(sorted({present[pid] for pid in left}))
            raise Refused(
                f"sessions that were there before it was frozen cannot be ended: of {whose}",
                "source",
                "stop what they belong to and run the same again, or with --frozen where they do not write",
            )
        time.sleep(0.2)


def open_source(link: Link) -> None:
    """Let it be written to again."""
    _set(link, "reset default_transaction_read_only")


def _set(link: Link, what: str) -> None:
    try:
        link.execute(sql.SQL("alter database {} {}").format(sql.Identifier(link.info.dbname), sql.SQL(what)))
    except psycopg.errors.InsufficientPrivilege:
        raise Refused(
            f"{link.info.user} may not freeze it: it does not own the database",
            "source",
            "stop all that writes to it, and say so: maia migrate cutover --frozen",
        ) from None


def target(link: Link, names: Collection[str]) -> None:
    """What came over is not written to here, by whomever: other tables of the database are.

    Making a trigger waits for those who write at that moment.
    """
    for (table,) in link.execute(WRITABLE, [list(names)]).fetchall():
        link.execute(
            f"""create or replace trigger {TRIGGER} before insert or update or delete or truncate on {table}
                execute function maia_migrate.refuse()""".encode()
        )


def open_target(link: Link) -> None:
    rows = link.execute(
        "select tgrelid::regclass::text from pg_trigger where tgname = %s and not tgisinternal", [TRIGGER]
    ).fetchall()
    for (table,) in rows:
        link.execute(f"drop trigger {TRIGGER} on {table}".encode())
