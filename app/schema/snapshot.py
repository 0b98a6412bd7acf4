"""What a database's schema is, line by line, and how two of them differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import psycopg

from app.schema import files

LINES = files.HOME / "snapshot.sql"


def take(link: psycopg.Connection[Any]) -> list[str]:
    """Every table, column, constraint, index, policy, trigger, function and view, with who may do what."""
    return sorted(" ".join(line.split()) for (line,) in link.execute(LINES.read_bytes()))


def differences(wanted: Sequence[str], found: Sequence[str]) -> Iterator[str]:
    """Lines that are missing (``-``) or beside (``+``)."""
    missing, beside = set(wanted) - set(found), set(found) - set(wanted)
    for line in sorted(missing | beside, key=lambda line: (line.split()[:2], line in beside)):
        yield f"{'+' if line in beside else '-'} {line}"
