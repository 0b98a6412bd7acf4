"""What a table holds, as one number that does not depend on the order of its rows, nor on the server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from app.migrate.tables import Table

SESSION = """
set timezone = 'UTC'; set datestyle = 'iso, ymd'; set intervalstyle = 'iso_8601'; set bytea_output = 'hex';
set extra_float_digits = 1; set search_path = pg_catalog; set lc_monetary = 'C'; set xmlbinary = 'base64';
set statement_timeout = 0; set lock_timeout = '30s'; set jit = off
"""
"""The text of a row must not depend on who asks."""


@dataclass(frozen=True)
class Digest:
    rows: int
    sum: str
    """Of the hashes of all rows: one that is there twice counts twice."""


def row(table: Table) -> sql.Composable:
    """The text of a row. A vector's is slow to make, so it is its binary form, which no server has otherwise."""
    if not any(column.vector for column in table.columns):
        return sql.SQL("t::text")
    columns = [
        sql.SQL("{}(t.{})").format(sql.Identifier(column.vector, f"{column.kind}_send"), sql.Identifier(column.name))
        if column.vector
        else sql.SQL("t.{}").format(sql.Identifier(column.name))
        for column in table.columns
    ]
    return sql.SQL("row({})::text").format(sql.SQL(", ").join(columns))


def hashed(table: Table) -> sql.Composable:
    return sql.SQL("hashtextextended({}, 0)").format(row(table))


def of(link: psycopg.Connection[Any], table: Table) -> Digest:
    """What the connection's snapshot sees of it; the session must be as ``SESSION`` says."""
    query = sql.SQL("select count(*), coalesce(sum({}), 0)::text from only {} t")
    found = link.execute(query.format(hashed(table), table.sql)).fetchone()
    assert found
    return Digest(*found)
