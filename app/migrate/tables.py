"""Tables as they must be known to be copied and compared."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

TABLES = (Path(__file__).parent / "tables.sql").read_text()
TYPES = """
select t.oid::bigint, n.nspname::text, t.typname::text, t.typtype::text, t.typbasetype::bigint,
  case when t.typlen = -1 and t.typelem <> 0 and t.typsubscript::text = 'array_subscript_handler' then t.typelem::bigint
    else 0 end,
  coalesce((select r.rngsubtype::bigint from pg_range r where t.oid in (r.rngtypid, r.rngmultitypid)), 0),
  t.typsend::oid <> 0 and t.typreceive::oid <> 0
from pg_type t join pg_namespace n on n.oid = t.typnamespace
"""
FIRST = 16384
"""The first number that a server gives to what is made in it: no other server gives the same."""
VECTORS = ("vector", "halfvec", "sparsevec")


@dataclass(frozen=True)
class Column:
    name: str
    generated: bool
    portable: bool
    """Whether its binary form means the same in another database."""
    vector: str = ""
    """The schema of the type, for a vector: its text is slow to make."""
    kind: str = ""
    """Its type, where it is a vector."""


@dataclass(frozen=True)
class Table:
    oid: int
    schema: str
    name: str
    kind: str
    """``r``, ``p`` (partitioned), ``f`` (foreign) or ``m`` (a materialized view)."""
    persistence: str
    rows: int
    """As the statistics have it."""
    heap: int
    size: int
    """With what is stored beside the rows."""
    indexes: int
    pages: int
    readable: bool
    hidden: bool
    """Row security would keep rows from the role that asks."""
    secured: bool
    key: tuple[str, ...]
    columns: tuple[Column, ...]

    @property
    def full(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def sql(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)

    @property
    def copied(self) -> tuple[str, ...]:
        """The columns that are written; the others follow from them."""
        return tuple(column.name for column in self.columns if not column.generated)

    @property
    def binary(self) -> bool:
        return all(column.portable for column in self.columns if not column.generated)


def read(link: psycopg.Connection[Any]) -> list[Table]:
    """All of a database, but the server's own."""
    types = _Types(link.execute(TYPES).fetchall())
    found = []
    for row in link.execute(TABLES):
        made = tuple(types.column(name, kind, generated) for name, kind, generated in row[-1])
        fields = (*row[:-2], tuple(row[-2]), made)
        found.append(Table(*fields))
    return found


class _Types:
    def __init__(self, rows: Iterable[tuple[Any, ...]]) -> None:
        self.known = {row[0]: row[1:] for row in rows}

    def column(self, name: str, kind: int, generated: bool) -> Column:
        schema, word = self.known[kind][:2]
        vector = schema if word in VECTORS else ""
        return Column(name, generated, self._portable(kind), vector, word if vector else "")

    def _portable(self, kind: int) -> bool:
        """Arrays and rows carry the number of their elements' type; names of objects are sent as their number."""
        schema, name, typtype, base, element, subtype, sendable = self.known[kind]
        if not sendable or typtype == "c" or (schema == "pg_catalog" and name.startswith("reg")):
            return False
        if element:
            return element < FIRST and self._portable(element)
        return self._portable(base or subtype) if base or subtype else True
