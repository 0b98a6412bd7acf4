"""The cut: one moment of all databases, named in the WAL and seen by a snapshot of each.

Writers are held for that moment by a lock they wait for: whoever was writing has ended, whoever comes waits. So what
the snapshots see is exactly what a recovery to the name brings back.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import IsolationLevel, sql
from psycopg.errors import LockNotAvailable

from app.backup import digest
from app.backup.command import Failed
from app.backup.places import SOCKET, SPOOL

ATTEMPTS = 5
Link = psycopg.Connection[Any]


@dataclass(frozen=True)
class Cut:
    name: str
    """The restore point in the WAL."""
    lsn: str
    segment: str
    """The WAL file that holds it."""
    timeline: int
    moment: str
    """Time of the cut, ISO 8601 UTC."""
    next_transaction: int
    """No later write has a lower number: the same one at two cuts means that nothing was written between them."""
    fenced: bool
    """Whether writers were held. Where a long transaction would not end, they were not, and digests may be off."""
    readers: dict[str, Link]
    """By database: a transaction that sees it as it was at the cut."""


def connect(database: str = "postgres", folder: str = str(SOCKET)) -> Link:
    link = psycopg.connect(
        host=folder, user="postgres", dbname=database, application_name="maia-backup", connect_timeout=10
    )
    link.autocommit = True
    link.execute(digest.SESSION)
    return link


def databases(link: Link) -> list[str]:
    rows = link.execute("select datname from pg_database where datallowconn and not datistemplate order by 1")
    return [str(name) for (name,) in rows]


@contextmanager
def cut(name: str) -> Iterator[Cut]:
    """Make the cut; its readers live as long as the block."""
    with ExitStack() as stack:
        admin = stack.enter_context(connect())
        names = databases(admin)
        readers = {each: stack.enter_context(connect(each)) for each in names}
        for reader in readers.values():
            reader.autocommit = False
            reader.isolation_level = IsolationLevel.REPEATABLE_READ
            reader.read_only = True
        for attempt in range(ATTEMPTS):
            with ExitStack() as fence:
                fenced = _hold(fence, names)
                if not fenced and attempt < ATTEMPTS - 1:
                    continue
                for reader in readers.values():
                    reader.execute("select 1")  # takes the snapshot
                made = _mark(admin, name)
                break
        yield Cut(name=name, fenced=fenced, readers=readers, **made)


def _hold(fence: ExitStack, names: list[str]) -> bool:
    """Lock every table of every database against writing; all locks go with the block."""
    try:
        for name in names:
            link = fence.enter_context(connect(name))
            link.autocommit = False
            for schema, table in digest.tables(link, "r"):
                link.execute(sql.SQL("lock table only {} in share mode").format(sql.Identifier(schema, table)))
    except LockNotAvailable:
        return False
    return True


def _mark(admin: Link, name: str) -> dict[str, Any]:
    row = admin.execute(
        """with made as materialized (select pg_create_restore_point(%s) as lsn)
           select lsn::text, pg_walfile_name(lsn), clock_timestamp(), pg_snapshot_xmax(pg_current_snapshot())::text
           from made""",
        (name,),
    ).fetchone()
    assert row
    lsn, segment, moment, following = row
    # The rest of the segment is of no use here, and the archive only takes whole ones.
    admin.execute("select pg_switch_wal()")
    return {
        "lsn": lsn,
        "segment": segment,
        "timeline": int(segment[:8], 16),
        "moment": moment.isoformat(),
        "next_transaction": int(following),
    }


def await_archived(segment: str, patience: float) -> None:
    """Wait until the segment is in the archive: handed over by Postgres, and gone from the spool.

    Raises:
        Failed: it is not, after ``patience`` seconds.
    """
    deadline = time.monotonic() + patience
    with connect() as link:
        while True:
            row = link.execute("select last_archived_wal >= %s from pg_stat_archiver", (segment,)).fetchone()
            if row and row[0] and not (SPOOL / segment).exists():
                return
            if time.monotonic() > deadline:
                where = "waits in the spool" if row and row[0] else "was not handed over by Postgres"
                raise Failed(f"the WAL segment {segment} {where} after {patience:.0f} s")
            time.sleep(0.1)
