"""The plan of a migration: what comes over, what changes, what stays and why, how long it takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from app.migrate import inventory, preflight, scope, verdicts
from app.migrate.inventory import Inventory
from app.migrate.refused import Refused
from app.migrate.scope import Selection
from app.migrate.source import Source
from app.migrate.tables import Table
from app.migrate.verdicts import Target, Verdict

Link = psycopg.Connection[tuple[Any, ...]]

COPIED = 40e6
INDEXED = 20e6
COMPARED = 60e6
"""Bytes a second that are copied, indexed and compared, on a small machine: it is rather less time than more."""
EACH = 0.02
"""Seconds that an object takes, whatever its size."""
PRESENT = """
select i.type, i.identity from pg_proc p, lateral pg_identify_object('pg_proc'::regclass, p.oid, 0) i
where p.pronamespace::regnamespace::text in ('auth', 'storage', 'public', 'extensions') and not exists (
  select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
union all select 'schema', quote_ident(nspname) from pg_namespace
"""


@dataclass(frozen=True)
class Plan:
    source: str
    found: Inventory
    target: Target
    chosen: Selection
    verdicts: tuple[Verdict, ...]
    taken: tuple[Table, ...]
    """The tables whose rows are copied."""
    refusals: tuple[Refused, ...]
    remarks: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """How long copy and verify should take."""
        size, indexes = sum(table.size for table in self.taken), sum(table.indexes for table in self.taken)
        moved = sum(each.outcome != "left" for each in self.verdicts)
        return size / COPIED + indexes / INDEXED + size / COMPARED + moved * EACH

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        counts: dict[str, Counter[str]] = {}
        for each in self.verdicts:
            counts.setdefault(each.kind, Counter())[each.outcome] += 1
        return {
            "source": {
                "name": self.source,
                "server": self.found.server,
                "database": self.found.database,
                "role": self.found.role,
                "encoding": self.found.encoding,
                "bytes": self.found.size,
                "clock_skew_seconds": round(self.found.skew, 1),
                "logical_replication": self.found.logical,
                "extensions": {name: version for name, (_, version) in sorted(self.found.extensions.items())},
                "counts": self.found.counts,
            },
            "target": {"server": self.target.server},
            "refused": [{"what": each.what, "where": each.where, "mend": each.mend} for each in self.refusals],
            "remarks": list(self.remarks),
            "kinds": {kind: dict(found) for kind, found in sorted(counts.items())},
            "tables": [
                {
                    "name": table.full,
                    "rows": table.rows,
                    "bytes": table.size,
                    "index_bytes": table.indexes,
                    "key": list(table.key),
                    "form": "binary" if table.binary else "text",
                    "row_security": table.secured,
                }
                for table in self.taken
            ],
            "references_into_auth": [
                {"table": table, "name": name, "refers_to": to, "checked": valid}
                for table, name, to, valid in self.found.references
            ],
            "estimate": {
                "rows": sum(table.rows for table in self.taken),
                "bytes": sum(table.size for table in self.taken),
                "index_bytes": sum(table.indexes for table in self.taken),
                "seconds": round(self.seconds),
            },
            "objects": [
                {"kind": each.kind, "name": each.name, "outcome": verdicts.TOLD[each.outcome], "why": each.why}
                for each in self.verdicts
            ],
        }


def make(source: Source, target: Link, chosen: Selection, room: int | None) -> Plan:
    """Look at both sides; nothing is changed on either.

    Args:
        target: a superuser's connection to the appliance's database.
        room: bytes that are free where the target lies; none where nobody knows.

    Raises:
        Refused: the source cannot be reached or read.
    """
    with source.connect() as link:
        found = inventory.read(link, sorted(scope.PLATFORM))
    here = look(target)
    decided = verdicts.decide(found, here, chosen)
    taken = tables_taken(found, decided)
    return Plan(
        source=source.name,
        found=found,
        target=here,
        chosen=chosen,
        verdicts=(*decided, *source.lost),
        taken=taken,
        refusals=tuple(preflight.refusals(found, here, taken, room)),
        remarks=tuple(preflight.remarks(found, taken, decided)),
    )


def tables_taken(found: Inventory, decided: Sequence[Verdict]) -> tuple[Table, ...]:
    """Those whose rows are copied: what is partitioned has none of its own."""
    wanted = {each.key[1] for each in decided if each.kind == "table" and each.outcome != "left"}
    return tuple(table for table in found.tables if table.kind == "r" and table.oid in wanted)


def look(link: Link) -> Target:
    """What the target has."""
    version = link.execute("select current_setting('server_version_num')::int").fetchone()
    assert version
    link.execute("set search_path = pg_catalog")
    try:
        return Target(
            version[0],
            frozenset(name for (name,) in link.execute("select name::text from pg_available_extensions")),
            dict(link.execute("select extname::text, extnamespace::regnamespace::text from pg_extension").fetchall()),
            dict(link.execute("select rolname::text, rolcanlogin or rolsuper from pg_roles").fetchall()),
            frozenset(link.execute(PRESENT).fetchall()),
            tuple(name for (name,) in link.execute(
                """select c.oid::regclass::text from pg_class c where c.relkind in ('r', 'p', 'm', 'v', 'f')
                     and c.relnamespace::regnamespace::text not in ('maia', 'maia_meta', 'maia_migrate')
                     and c.oid >= 16384 and c.relnamespace <> all(array['pg_toast'::regnamespace])
                     and c.relpersistence <> 't' and not exists (select from pg_depend d
                       where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
                   order by 1""")),
        )  # fmt: skip
    finally:
        link.execute("reset search_path")
