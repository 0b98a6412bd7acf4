"""Tables of parts that not every stack has: one file each, which changes nothing when it is run twice."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from typing import Any

import psycopg

from app.schema import files
from app.schema.execute import execute

FILES = {"auth": files.HOME / "auth.sql"}
OWNER = "maia_owner"
FOREIGN = """select c.oid::regclass::text, pg_get_userbyid(c.relowner) from pg_class c
    where c.relnamespace = to_regnamespace(%s) and c.relkind in ('r', 'p') and pg_get_userbyid(c.relowner) <> %s
    order by 1 limit 1"""


def digest(part: str) -> str:
    """SHA-256 of the part's file in this release."""
    return hashlib.sha256(FILES[part].read_bytes()).hexdigest()


def present(wanted: Collection[str]) -> dict[str, str]:
    """This release's digests of the parts that are wanted and have tables."""
    return {part: digest(part) for part in sorted(wanted) if part in FILES}


def applied(link: psycopg.Connection[Any]) -> dict[str, str]:
    """As the database has it written down."""
    there = link.execute("select to_regclass('maia_meta.applied_parts')").fetchone()
    if not there or not there[0]:
        return {}
    return dict(link.execute("select part, sha256 from maia_meta.applied_parts").fetchall())


def pending(link: psycopg.Connection[Any], wanted: Collection[str]) -> tuple[str, ...]:
    """The parts whose file was not run as it is now."""
    found = applied(link)
    return tuple(part for part, sha256 in present(wanted).items() if found.get(part) != sha256)


def faults(link: psycopg.Connection[Any], wanted: Collection[str]) -> tuple[str, ...]:
    """Why a part's tables cannot be made: others have come there from elsewhere."""
    found = {part: link.execute(FOREIGN, [part, OWNER]).fetchone() for part in present(wanted)}
    return tuple(
        f"{row[0]} was moved here and belongs to {row[1]}, and the part {part} makes tables of its own"
        for part, row in found.items()
        if row
    )


def apply(link: psycopg.Connection[Any], part: str) -> None:
    """Run the part's file as the owner of the schema, and write down what it was; all of it or nothing.

    Raises:
        Refused: Postgres would not; with the line.
    """
    with link.transaction():
        link.execute(f"set local role {OWNER}".encode())
        link.execute("set local search_path = pg_catalog")
        execute(link, FILES[part].name, FILES[part].read_text())
        link.execute(
            """insert into maia_meta.applied_parts (part, sha256) values (%s, %s)
               on conflict (part) do update set sha256 = excluded.sha256, applied_at = now()""",
            [part, digest(part)],
        )


def bring(link: psycopg.Connection[Any], wanted: Collection[str], say: Callable[[str], None]) -> tuple[str, ...]:
    """Run what is pending.

    Returns:
        The parts whose file was run.
    """
    found = pending(link, wanted)
    link.commit()
    for part in found:
        say(f"tables of {part}")
        apply(link, part)
    return found
