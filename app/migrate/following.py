"""Where following the source stands, kept beside the journal of the copy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from app.migrate import journal
from app.migrate.journal import Run
from app.migrate.refused import Refused

Link = psycopg.Connection[tuple[Any, ...]]

SCHEMA = (Path(__file__).parent / "following.sql").read_text()
SERVES = {
    "joining": "the source", "following": "the source", "freezing": "the source, until it is frozen",
    "frozen": "nobody: both are frozen", "turning": "nobody: both are frozen", "serving": "this appliance",
    "returning": "nobody: both are frozen", "opening": "nobody: both are frozen", "returned": "the source",
    "final": "this appliance",
}  # fmt: skip
"""State to who takes what is written."""
SERVED_HERE = ("serving", "returning", "opening", "final")
"""States in which the source is behind the appliance, if anything."""
AHEAD = ("joining", "following", "returned")
"""States in which the source serves, and is followed or may be."""


@dataclass(frozen=True)
class Following:
    state: str
    slotted: bool
    why: str
    by_hand: bool
    way_back: bool
    altered: list[str]
    """Definitions that are not the same, and that are changed by hand."""
    behind: int | None
    held: int | None
    latest: datetime | None
    """When the last change that came was made."""
    seen: datetime | None
    verified: datetime | None
    since: datetime | None
    """When the appliance began to serve."""

    @property
    def serves(self) -> str:
        return SERVES[self.state]


def slot(run: Run, *, back: bool = False) -> str:
    """The name of the slot, and of the publication, at the source, or here for the way back."""
    return f"maia_{run.id.replace('-', '')[:12]}{'_back' if back else ''}"


def read(link: Link) -> Following | None:
    """None where the source was never followed, or is not any more."""
    if link.execute("select to_regclass('maia_migrate.following')").fetchone() == (None,):
        return None
    row = link.execute(
        """select state, slotted, why, by_hand, way_back, altered, behind, held, latest, seen_at, verified_at,
             served_since from maia_migrate.following"""
    ).fetchone()
    return Following(*row) if row else None


def begin(link: Link) -> None:
    """Note that a slot may be there from now on; what was noted of an earlier time is forgotten."""
    link.execute(SCHEMA.encode())
    link.execute("delete from maia_migrate.following")
    link.execute("insert into maia_migrate.following (state) values ('joining')")


def enter(link: Link, state: str) -> None:
    link.execute(
        """update maia_migrate.following set state = %s, behind = null, held = null,
             served_since = case when %s = 'serving' then clock_timestamp() else served_since end""",
        [state, state],
    )


def note(link: Link, **facts: object) -> None:
    for name, value in facts.items():
        link.execute(sql.SQL("update maia_migrate.following set {} = %s").format(sql.Identifier(name)), [value])


def compared(link: Link, slot: str, tables: Mapping[str, str]) -> None:
    """Write down which tables a slot does not tell of, and why."""
    link.execute("delete from maia_migrate.compared where slot = %s", [slot])
    for name, why in tables.items():
        link.execute("insert into maia_migrate.compared values (%s, %s, %s)", [slot, name, why])


def uncovered(link: Link, slot: str) -> dict[str, str]:
    query = "select name, why from maia_migrate.compared where slot = %s order by name"
    return dict(link.execute(query, [slot]).fetchall())


def end(link: Link) -> None:
    link.execute("delete from maia_migrate.following")


def copied(link: Link, source: str) -> Run:
    """The migration whose rows are all here.

    Raises:
        Refused: there is none, or of another source.
    """
    run = journal.run(link)
    if run is None or run.state != "copied":
        raise Refused("is not copied yet", "migration", "maia migrate copy --source FILE")
    if run.source != source:
        raise Refused(f"was begun from {run.source}", "migration", "name that source's file")
    return run


def tables(link: Link) -> set[str]:
    """Those whose rows came over."""
    rows = link.execute("select schema || '.' || name from maia_migrate.tables where fault = ''")
    return {name for (name,) in rows}


def schemas(link: Link) -> list[str]:
    return [name for (name,) in link.execute("select distinct schema from maia_migrate.tables order by 1")]


def at(link: Link, snapshot: str, lsn: str) -> None:
    """Note of which moment the rows here are."""
    link.execute("update maia_migrate.run set snapshot = %s, lsn = %s::pg_lsn", [snapshot, lsn])
