"""What pg_dump says of a database, taken apart into one piece of SQL for each object.

pg_dump knows how to write down every kind of object that a server of its version or an older one has. In its plain
form, when it is told to be verbose, each piece is headed by its number, the object it is of, and what it depends on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from app.migrate.refused import Refused
from app.migrate.scope import PLATFORM, stays
from app.migrate.tables import Table

OPTIONS = ("--schema-only", "--no-owner", "--verbose", "--format=plain", "--encoding=UTF8", "--no-sync")
HEAD = re.compile(
    r"^--\n-- TOC entry (?P<number>\d+) \(class (?P<classid>\d+) OID (?P<oid>\d+)\)\n"
    r"(?:-- Dependencies: (?P<needs>[\d ]+)\n)?"
    r"-- Name: (?P<name>.*); Type: (?P<kind>[A-Z ]+); Schema: (?P<schema>.*?); Owner: .*\n(?:-- Data Pos: \d+\n)?--\n",
    re.MULTILINE,
)
END = "\n-- PostgreSQL database dump complete\n"
BEFORE = frozenset(
    {
        "SCHEMA", "EXTENSION", "COLLATION", "TYPE", "DOMAIN", "SHELL TYPE", "FUNCTION", "PROCEDURE", "AGGREGATE",
        "OPERATOR", "OPERATOR CLASS", "OPERATOR FAMILY", "CAST", "TABLE", "SEQUENCE", "SEQUENCE OWNED BY", "DEFAULT",
        "VIEW", "MATERIALIZED VIEW", "TABLE ATTACH", "TEXT SEARCH CONFIGURATION", "TEXT SEARCH DICTIONARY",
        "TEXT SEARCH PARSER", "TEXT SEARCH TEMPLATE",
    }
)  # fmt: skip
"""Kinds that must be there before the rows are."""


@dataclass(frozen=True)
class Entry:
    """One piece.

    Args:
        number: by which others say that they need it.
        key: the object's place in the catalogue of the source; (0, 0) for what is said about another one.
    """

    number: int
    key: tuple[int, int]
    needs: tuple[int, ...]
    kind: str
    schema: str
    name: str
    text: str

    @property
    def early(self) -> bool:
        return self.kind in BEFORE

    @property
    def label(self) -> str:
        return f"{self.schema}.{self.name}" if self.schema else self.name


def take_apart(text: str) -> list[Entry]:
    """The pieces, in an order in which they can be made.

    Raises:
        Refused: it is not what pg_dump writes.
    """
    heads = list(HEAD.finditer(text))
    found = []
    for head, following in zip(heads, [*heads[1:], None]):
        body = text[head.end() : following.start() if following else len(text)]
        if following is None:
            body = body.split("\n-- Completed on ")[0]
        found.append(
            Entry(
                number=int(head["number"]),
                key=(int(head["classid"]), int(head["oid"])),
                needs=tuple(map(int, (head["needs"] or "").split())),
                kind=head["kind"],
                schema="" if head["schema"] == "-" else head["schema"],
                name=head["name"],
                text=_clean(body),
            )
        )
    numbers = [entry.number for entry in found]
    if END not in text or not found or len(set(numbers)) != len(numbers):
        raise Refused("its output is not whole", "pg_dump", "this is a fault of maia's own")
    return found


def _clean(body: str) -> str:
    lines = [line for line in body.strip().split("\n") if not line.startswith(("\\restrict", "\\unrestrict"))]
    return "\n".join(lines).strip()


def arguments(tables: Iterable[Table], snapshot: str) -> list[str]:
    """What pg_dump is told, but for the source. What may not be read is left out: it locks whatever it looks at."""
    closed = [table for table in tables if not table.readable and not stays(table.schema)]
    return [
        *OPTIONS,
        f"--snapshot={snapshot}",
        *(f"--exclude-schema={_quoted(name)}" for name in sorted(set(PLATFORM) - {"extensions"})),
        *(f"--exclude-table={_quoted(table.schema)}.{_quoted(table.name)}" for table in closed),
    ]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
