"""Room on the disk: while too little is left for Postgres to go on safely, its databases take no writes.

A Postgres that cannot write its log ends at once, and comes back only once there is room. Before that, every new
transaction is made read-only: readers go on, writers are refused by an error that says so, and nothing is lost.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import psycopg

from app.backup import fence
from app.backup.fence import Link
from app.backup.places import POSTGRES

SETTING = "default_transaction_read_only"
RELIEF = 1.5
"""Times the reserve that must be free before writing is allowed again: the guard is not to swing."""
HELD = "select 1 from pg_file_settings where name = %s and sourcefile like '%%/postgresql.auto.conf'"


@dataclass
class Guard:
    """Keeps ``reserve`` bytes free; 0 for no guard."""

    reserve: int
    held: bool = False
    """Whether the databases are read-only, as last seen."""

    def turn(self) -> str:
        """Look once, and hold or release.

        Returns:
            What changed, for people; empty for nothing.
        """
        left = free()
        try:
            with fence.connect() as link:
                self.held = link.execute(HELD, [SETTING]).fetchone() is not None
                if not self.held and left < self.reserve:
                    _hold(link)
                    self.held = True
                    return f"{left >> 20} MiB are free: the databases are read-only until there is more"
                if self.held and left >= self.reserve * RELIEF:
                    _release(link)
                    self.held = False
                    return f"{left >> 20} MiB are free: the databases take writes again"
        except psycopg.Error:  # a server that is down takes no writes either
            pass
        return ""


def free() -> int:
    """Bytes that Postgres could still write."""
    found = os.statvfs(POSTGRES.parent)
    return found.f_bavail * found.f_frsize


def _hold(link: Link) -> None:
    # Who makes room must be able to write: this machine's root, as the superuser whom nobody reaches by network.
    link.execute(f"alter role postgres set {SETTING} = off".encode())
    link.execute(f"alter system set {SETTING} = on".encode())
    link.execute("select pg_reload_conf()")


def _release(link: Link) -> None:
    link.execute(f"alter system reset {SETTING}".encode())
    link.execute("select pg_reload_conf()")
