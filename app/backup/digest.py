"""What a database holds, as a digest per table that does not depend on the order of rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

SESSION = (
    "set timezone = 'UTC'; set datestyle = 'iso, ymd'; set intervalstyle = 'iso_8601'; set bytea_output = 'hex'; "
    "set extra_float_digits = 1; set search_path = pg_catalog; set statement_timeout = 0; set lock_timeout = '2s'"
)
"""Text of a row must not depend on who asks."""

OWN = "n.nspname !~ '^pg_' and n.nspname <> 'information_schema'"


@dataclass(frozen=True, kw_only=True)
class Table:
    rows: int
    digest: str


def tables(link: psycopg.Connection[Any], kinds: str = "rm") -> list[tuple[str, str]]:
    """Schema and name of what holds rows that survive a crash: tables and partitions (r), materialised views (m)."""
    return link.execute(
        f"""select n.nspname::text, c.relname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
            where c.relkind = any(%s) and c.relpersistence = 'p' and {OWN} order by 1, 2""",  # noqa: S608 - a constant
        (list(kinds),),
    ).fetchall()


def database(link: psycopg.Connection[Any], only: set[str] | None = None, kinds: str = "rm") -> dict[str, Table]:
    """Every table's digest, or those of ``only`` some, or of those ``kinds``, as ``link``'s snapshot sees it.

    A row's digest is a 64-bit hash of its text, a table's their sum: rows may come in any order, and one that is
    there twice counts twice.
    """
    found = {}
    for schema, name in tables(link, kinds):
        if only is not None and f"{schema}.{name}" not in only:
            continue
        query = sql.SQL("select count(*), coalesce(sum(hashtextextended(t::text, 0)::numeric), 0)::text from {} t")
        row = link.execute(query.format(sql.Identifier(schema, name))).fetchone()
        assert row
        found[f"{schema}.{name}"] = Table(rows=row[0], digest=row[1])
    return found


def sequences(link: psycopg.Connection[Any]) -> dict[str, int]:
    """How far every sequence has come. After a crash it may be ahead, never behind."""
    rows = link.execute(
        "select schemaname || '.' || sequencename, last_value from pg_sequences where last_value is not null"
    ).fetchall()
    return {str(name): int(value) for name, value in rows}
