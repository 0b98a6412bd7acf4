"""Rows for every table of the schema, made from the catalogue, for people who have nothing to do with each other."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from graphlib import TopologicalSorter
from typing import Any

import psycopg
from psycopg import sql

from app.schema import sealed

Link = psycopg.Connection[tuple[Any, ...]]
NOBODY = uuid.UUID(int=0)
NAMESPACE = uuid.UUID("8b9c6f0e-4a52-4c3e-9a57-2d0c6f1f7a11")
MADE = sql.SQL(" on conflict do nothing returning *")
FILLED = ("change_log", "change_heads")
"""By triggers alone."""

COLUMNS = """
select c.relname, a.attname, t.typname, a.atttypmod, a.attnotnull and not a.atthasdef, a.attgenerated <> ''
from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_type t on t.oid = a.atttypid
where c.relnamespace = 'maia'::regnamespace and c.relkind = 'r' and a.attnum > 0 and not a.attisdropped
order by c.relname, a.attnum
"""
REFERENCES = """
select c.conrelid::regclass::text, c.confrelid::regclass::text,
    array(select a.attname::text from unnest(c.conkey) with ordinality k (n, i)
          join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.n order by i),
    array(select a.attname::text from unnest(c.confkey) with ordinality k (n, i)
          join pg_attribute a on a.attrelid = c.confrelid and a.attnum = k.n order by i)
from pg_constraint c where c.contype = 'f' and c.connamespace = 'maia'::regnamespace
order by cardinality(c.conkey), 1, c.conname
"""
KEYS = """
select c.relname, array(select a.attname::text from unnest(i.indkey::smallint[]) with ordinality k (n, p)
                        join pg_attribute a on a.attrelid = c.oid and a.attnum = k.n order by p)
from pg_index i join pg_class c on c.oid = i.indrelid
where i.indisprimary and c.relnamespace = 'maia'::regnamespace
"""
CHOICES = """
select c.conrelid::regclass::text, a.attname, pg_get_constraintdef(c.oid) from pg_constraint c
join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
where c.contype = 'c' and cardinality(c.conkey) = 1 and c.connamespace = 'maia'::regnamespace
"""
SAMPLES: Mapping[str, Any] = {
    "element": "fire", "phase_code": "F1", "archetype": "Sage", "life_domain": "career",
    "label": "A name", "prose": "Some words.",
    "score": 0.5, "cognitive_level": 3, "scale10": 5, "count": 7, "fields": "{}", "jsonb": "{}", "longitude360": 12.5,
    "text": "text", "bool": True, "int2": 1, "int4": 1, "int8": 1, "numeric": 1, "float4": 1, "float8": 1,
    "bytea": b"x" * 64,
    "date": "2026-01-05", "time": "12:00", "timestamptz": "2026-01-05 12:00Z",
    "tstzrange": "[2026-01-05,2026-01-06)", "daterange": "[2026-01-05,2026-01-06)", "int4range": "[60,120)",
    "_text": ["a"], "_uuid": [], "_float4": [40.0],
}  # fmt: skip
SPECIAL: Mapping[tuple[str, str], Any] = {
    ("passcodes", "expires_at"): "2100-01-01Z",
    ("chart_aspects", "one"): "mars",
    ("chart_aspects", "other"): "venus",
    ("maia_engine_comparisons", "other"): "other-engine",
    ("storage_references", "media_type"): "text/plain",
    ("transits", "exact_at"): "2026-01-05 12:00Z",
    ("community_reactions", "reply_id"): None,
    ("moderation_appeals", "decided_by"): None,
    ("shared_content", "with_user"): None,
    ("selflet_messages", "from_id"): None,
}
STRANGER = {
    ("user_blocks", "blocked_id"), ("peer_support_matches", "listener_id"),
    ("supervision_relationships", "supervisor_id"), ("referrals", "receiver_id"),
}  # fmt: skip
"""Where a row needs a second person: one whom neither tenant is."""
TWICE = {"memories", "user_session_patterns", "selflet_nodes"}
"""Tables of which a row of another table needs two."""


@dataclass(frozen=True)
class Column:
    table: str
    name: str
    type: str
    modifier: int
    wanted: bool
    generated: bool


@dataclass
class Catalogue:
    """The tables of the schema, as Postgres describes them."""

    link: Link
    content: bytes = b"words"
    """What is sealed into columns that are for ciphertext."""
    rows: dict[tuple[str, uuid.UUID], dict[str, Any]] = field(default_factory=dict)
    """What was put in, by table and tenant."""

    @cached_property
    def columns(self) -> dict[str, list[Column]]:
        found: dict[str, list[Column]] = {}
        for row in self.link.execute(COLUMNS):
            found.setdefault(row[0], []).append(Column(*row))
        return found

    @cached_property
    def keys(self) -> dict[str, list[str]]:
        return dict(self.link.execute(KEYS).fetchall())

    @cached_property
    def references(self) -> dict[str, list[tuple[str, list[str], list[str]]]]:
        found: dict[str, list[tuple[str, list[str], list[str]]]] = {}
        for table, target, columns, theirs in self.link.execute(REFERENCES):
            found.setdefault(table.removeprefix("maia."), []).append((target.removeprefix("maia."), columns, theirs))
        return found

    @cached_property
    def choices(self) -> dict[tuple[str, str], str]:
        found = {}
        for table, column, definition in self.link.execute(CHOICES):
            if listed := re.search(r"ANY \(ARRAY\['([^']*)'", definition):
                found[table.removeprefix("maia."), column] = listed[1]
        return found

    @property
    def tables(self) -> list[str]:
        """Whatever is pointed to first."""
        graph = {
            table: {target for target, *_ in self.references.get(table, []) if target != table}
            for table in self.columns
        }
        return [table for table in TopologicalSorter(graph).static_order() if table not in FILLED]

    def owned(self, table: str) -> bool:
        """Whether its rows are somebody's."""
        return table == "users" or any(
            target == "users" or self.owned(target) for target, *_ in self.references.get(table, []) if target != table
        )

    def fill(self, *tenants: uuid.UUID) -> None:
        """One row in each table for each of them, and one of nobody's where rows are nobody's."""
        for table in self.tables:
            for tenant in tenants if self.owned(table) else (NOBODY,):
                if table in TWICE:
                    self._insert(table, tenant, second=True)
                self.rows[table, tenant] = self._insert(table, tenant)

    def key(self, table: str, tenant: uuid.UUID) -> dict[str, Any]:
        return {column: self.rows[table, tenant][column] for column in self.keys[table]}

    def _insert(self, table: str, tenant: uuid.UUID, second: bool = False) -> dict[str, Any]:
        row = self._row(table, tenant)
        if second:
            row |= {"id": identity(tenant, table, "second")}
            row |= {"pattern": "Another"} if "pattern" in row else {}
        # What is there already a trigger made, of the same key: who founds a circle is in it.
        made = self.link.execute(insertion(table, row) + MADE, list(row.values())).fetchone()
        if not made:
            where = sql.SQL(" and ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in self.keys[table])
            query = sql.SQL("select * from maia.{} where {}").format(sql.Identifier(table), where)
            made = self.link.execute(query, [row[name] for name in self.keys[table]]).fetchone()
        assert made, table
        return dict(zip([column.name for column in self.columns[table]], made))

    def _row(self, table: str, tenant: uuid.UUID) -> dict[str, Any]:
        row = {c.name: self._value(c, tenant) for c in self.columns[table] if not c.generated and self._given(c)}
        for target, columns, theirs in self.references.get(table, []):
            if (
                any((table, column) in SPECIAL for column in columns)
                or target == table
                or columns[0] in ("key_id", "model")
            ):
                continue
            there = self.rows[target, tenant if self.owned(target) else NOBODY]
            for column, their in zip(columns, theirs):
                row[column] = there[their]
            if (table, columns[0]) in STRANGER:
                row[columns[0]] = STRANGERS[target]
            if columns[0] == "to_id":
                row["to_id"] = identity(tenant, target, "second")
        return row

    def _given(self, column: Column) -> bool:
        # What is sealed may be empty where a service's ciphertext waits beside it.
        waits = column.type == "sealed" and any(each.type == "handed" for each in self.columns[column.table])
        return column.wanted or waits or column.name == "id" or (column.table, column.name) in SPECIAL

    def _value(self, column: Column, tenant: uuid.UUID) -> Any:
        place = column.table, column.name
        if place in SPECIAL:
            return SPECIAL[place]
        if column.name == "id":
            return tenant if column.table == "users" else identity(tenant, column.table)
        if place in self.choices:
            return self.choices[place]
        match column.type:
            case "uuid":
                return identity(tenant, column.table)
            case "digest":
                return hashlib.sha256(f"{tenant} {column.table}".encode()).digest()
            case "slug":
                return f"{column.table.replace('_', '-')[:20]}-{str(tenant)[-8:]}"
            case "sealed" | "enveloped" as kind:
                mark = sealed.SEALED if kind == "sealed" else sealed.ENVELOPED
                return sealed.seal(b"k" * 32, identity(tenant, "sealing_keys"), self.content, b"here", mark=mark)
            case "vector":
                return str([1.0] + [0.0] * (column.modifier - 1))
            case "label" | "text" if column.name in {"name", "path", "title", "time_zone"}:
                return "UTC" if column.name == "time_zone" else f"{column.name} {tenant}"
        return SAMPLES[column.type]


STRANGERS: dict[str, uuid.UUID] = {}


def identity(tenant: uuid.UUID, *words: str) -> uuid.UUID:
    """The same each time it is asked for."""
    return uuid.uuid5(NAMESPACE, " ".join([str(tenant), *words]))


def insertion(table: str, row: Mapping[str, Any]) -> sql.Composed:
    """Puts it in, and reads nothing: reading would be held by another policy."""
    names = sql.SQL(", ").join(map(sql.Identifier, row))
    values = sql.SQL(", ").join([sql.Placeholder()] * len(row))
    return sql.SQL("insert into maia.{} ({}) values ({})").format(sql.Identifier(table), names, values)


def strangers(link: Link, third: uuid.UUID) -> None:
    """A third person, with whom both tenants may have to do."""
    link.execute("insert into maia.users (id, handle, display_name) values (%s, 'third', 'Third')", [third])
    link.execute("insert into maia.clinical_practitioners (id, display_name) values (%s, 'Third')", [third])
    STRANGERS.update(users=third, clinical_practitioners=third)
