"""How far sequences are."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import psycopg

Link = psycopg.Connection[tuple[Any, ...]]
Place = tuple[str, str, int]
"""Schema, name and the last number that was given."""

READ = "select schemaname::text, sequencename::text, last_value from pg_sequences where last_value is not null"


def read(link: Link) -> list[Place]:
    return link.execute(READ).fetchall()


def place(link: Link, found: Collection[Place]) -> None:
    """Set those that are here to what they are elsewhere."""
    here = set(link.execute("select schemaname::text, sequencename::text from pg_sequences").fetchall())
    for schema, name, value in found:
        if (schema, name) in here:
            link.execute("select setval(format('%%I.%%I', %s::text, %s::text)::regclass, %s)", [schema, name, value])
