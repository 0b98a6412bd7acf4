"""How far the archive reaches: what the loss of this machine would cost at this moment."""

from __future__ import annotations

import re
import time
from datetime import datetime
from pathlib import Path

from app.backup import archive, fence
from app.backup.command import run
from app.backup.places import POSTGRES, SPOOL

SEGMENT = re.compile(r"[0-9A-F]{24}")
COMMIT = re.compile(r"desc: COMMIT(?:_PREPARED \d+:)? (\S+ \S+) UTC")
"""As ``pg_waldump`` writes it."""


def behind() -> float:
    """Seconds since the oldest commit that the archive does not hold; 0 where it holds every one."""
    newest, now = archive.newest(), time.time()
    with fence.connect() as link:
        row = link.execute("select pg_walfile_name(pg_current_wal_insert_lsn())").fetchone()
    assert row
    # A segment that waits in the spool may be gone from Postgres's own folder; the copy there is whole.
    outside = {
        path.name: path
        for folder in (POSTGRES / "pg_wal", SPOOL)
        for path in folder.iterdir()
        if SEGMENT.fullmatch(path.name) and newest < path.name <= row[0]
    }
    for _, segment in sorted(outside.items()):
        if first := _first_commit(segment):
            return round(max(0.0, now - first), 3)
    return 0.0


def _first_commit(segment: Path) -> float | None:
    # The last segment ends where nothing was written yet, which is an error to it.
    told = run(("pg_waldump", "--rmgr=Transaction", segment, segment.name), codes=(0, 1))
    found = COMMIT.search(told)
    return datetime.fromisoformat(f"{found[1]}+00:00").timestamp() if found else None
