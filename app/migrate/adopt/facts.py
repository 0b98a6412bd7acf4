"""Tables on both sides as they are: columns with their types, keys, references."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psycopg

Link = psycopg.Connection[tuple[Any, ...]]

COLUMNS = """
select n.nspname || '.' || c.relname, a.attname::text, t.typname::text, format_type(coalesce(b.oid, t.oid),
    case when t.typtype = 'd' then t.typtypmod else a.atttypmod end),
  a.attnotnull, case when a.attgenerated = '' then coalesce(pg_get_expr(d.adbin, d.adrelid), '') else '' end,
  a.attgenerated <> ''
from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
join pg_type t on t.oid = a.atttypid left join pg_type b on t.typtype = 'd' and b.oid = t.typbasetype
left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
where a.attnum > 0 and not a.attisdropped and c.relkind in ('r', 'p')
  and (n.nspname in ('maia', 'public') or (n.nspname = 'auth' and c.relname = 'users'))
order by 1, a.attnum
"""
KEYS = """
select n.nspname || '.' || c.relname, array(
  select a.attname::text from unnest(i.indkey::int2[]) with ordinality k (number, place)
  join pg_attribute a on a.attrelid = c.oid and a.attnum = k.number order by place)
from pg_index i join pg_class c on c.oid = i.indrelid join pg_namespace n on n.oid = c.relnamespace
where i.indisprimary and n.nspname in ('maia', 'public', 'auth')
"""
REFERENCES = """
select c.conname::text, f.relname::text, t.relname::text,
  array(select a.attname::text from unnest(c.conkey) with ordinality k (number, place)
    join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.number order by place),
  array(select a.attname::text from unnest(c.confkey) with ordinality k (number, place)
    join pg_attribute a on a.attrelid = c.confrelid and a.attnum = k.number order by place)
from pg_constraint c join pg_class f on f.oid = c.conrelid join pg_class t on t.oid = c.confrelid
where c.contype = 'f' and c.connamespace = to_regnamespace('maia')
order by cardinality(c.conkey), 1, c.conname
"""


@dataclass(frozen=True)
class Column:
    name: str
    kind: str
    """Its type's name; of a domain, the domain's."""
    base: str
    """The type beneath, as a cast has it."""
    wanted: bool
    """Cannot be empty."""
    default: str
    """What stands where nothing is given; empty where there is none."""
    generated: bool


@dataclass(frozen=True)
class Reference:
    """A foreign key within our schema."""

    name: str
    table: str
    target: str
    columns: tuple[str, ...]
    theirs: tuple[str, ...]


@dataclass(frozen=True)
class Facts:
    columns: Mapping[str, tuple[Column, ...]]
    """By ``schema.table``."""
    keys: Mapping[str, tuple[str, ...]]
    references: tuple[Reference, ...]

    def column(self, table: str, name: str) -> Column | None:
        return next((each for each in self.columns.get(table, ()) if each.name == name), None)

    def points(self, table: str, column: str) -> Reference | None:
        """The reference that begins with this column; none where it points nowhere."""
        return next((each for each in self.references if each.table == table and each.columns[0] == column), None)


def read(link: Link) -> Facts:
    columns: dict[str, list[Column]] = {}
    for table, *rest in link.execute(COLUMNS):
        columns.setdefault(table, []).append(Column(*rest))
    return Facts(
        {table: tuple(found) for table, found in columns.items()},
        {table: tuple(names) for table, names in link.execute(KEYS)},
        tuple(
            Reference(name, table, target, tuple(ours), tuple(theirs))
            for name, table, target, ours, theirs in link.execute(REFERENCES)
        ),
    )
