"""Why a migration would not even begin: found before anything is changed. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from app.migrate.inventory import Inventory
from app.migrate.refused import Refused
from app.migrate.tables import Table
from app.migrate.verdicts import Target, Verdict

OLDEST = 14
"""Earlier ones cannot read a table by ranges of its pages."""
SKEW = 60.0
"""Seconds by which the two clocks may differ unnoticed."""
ROOM = 1.3
"""Bytes that the target takes, times those that come over: WAL, and what sorting indexes needs."""
GRACE = 256 << 20
NAMED = 5
"""How many are named of many."""


def refusals(found: Inventory, target: Target, taken: Sequence[Table], room: int | None) -> Iterator[Refused]:
    """All of them."""
    version, newest = found.server // 10000, target.server // 10000
    if not OLDEST <= version <= newest:
        yield Refused(
            f"is Postgres {version}", "source", f"versions {OLDEST} to {newest} are moved; upgrade it there first"
        )
    if hidden := [table.full for table in taken if table.hidden]:
        yield Refused(
            f"row security would hide rows from {found.role}: {listed(hidden)}",
            "source",
            f"alter role {found.role} bypassrls, or take the role that owns the tables",
        )
    if target.rows:
        yield Refused(
            f"is not empty: {listed(target.rows)}",
            "target",
            "drop these, or go on with the migration that made them: maia migrate status",
        )
    needed = int(sum(table.size + table.indexes for table in taken) * ROOM) + GRACE
    if room is not None and room < needed:
        yield Refused(
            f"{needed / 1e9:.1f} GB are needed and {room / 1e9:.1f} GB are free", "disk of the target", "make room"
        )


def remarks(found: Inventory, taken: Sequence[Table], verdicts: Sequence[Verdict]) -> Iterator[str]:
    """What is no reason to stop, and should be known."""
    if abs(found.skew) > SKEW:
        yield f"the clocks differ by {abs(found.skew):.0f} s: the source is {'ahead' if found.skew > 0 else 'behind'}"
    if found.encoding != "UTF8":
        yield f"the source is encoded as {found.encoding}: a table with a row that is no UTF-8 is named and not moved"
    if not found.logical:
        yield "no logical replication (wal_level, or the role may not): sync will have to compare"
    if keyless := [table.full for table in taken if not table.key and table.kind == "r"]:
        yield f"without a primary key: {listed(keyless)}"
    if unchecked := [f"{table} ({name})" for table, name, _, valid in found.references if not valid]:
        yield f"references into auth that were never checked: {listed(unchecked)}"
    if others := sorted({each.name for each in verdicts if each.kind == "secret"}):
        yield f"secrets of vault stay, sealed with the platform's key: {listed(others)}"


def listed(names: Sequence[str]) -> str:
    """Some of them, and how many more."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
