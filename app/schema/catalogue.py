"""What must be true of the schema whatever a later version adds, asked of the database's own catalogue."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg

from app.schema import files

RULES = {path.stem: path for path in sorted((files.HOME / "rules").glob("*.sql"))}
"""Name to a query of what breaks it: the object and the fault."""


def findings(link: psycopg.Connection[Any]) -> Iterator[str]:
    """Everything that breaks a rule, one line each."""
    for rule in RULES:
        yield from (f"{rule}: {found}" for found in broken(link, rule))


def broken(link: psycopg.Connection[Any], rule: str) -> list[str]:
    return sorted(f"{name}: {fault}" for name, fault in link.execute(RULES[rule].read_bytes()))


def altered(link: psycopg.Connection[Any]) -> Iterator[str]:
    """Where the log of changes was altered, and what was changed past it."""
    for chain, number, fault in link.execute("select * from maia.broken_chains()"):
        yield f"log: chain {chain}, entry {number}: {fault}"
    for table, key, fault in link.execute("select * from maia.changed_unlogged()"):
        yield f"log: {table} {key}: {fault}"


def present(link: psycopg.Connection[Any]) -> bool:
    """Whether the database has the schema at all."""
    found = link.execute("select to_regclass('maia.users') is not null").fetchone()
    return bool(found and found[0])
