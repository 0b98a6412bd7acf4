"""Definitions of both sides compared, each difference with the reason that the copy gave for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from app.migrate.journal import Told

SHAPE = (Path(__file__).parent / "shape.sql").read_text()
PLACE = " at "
"""Before how far a sequence is."""
GOES_ON = "goes on at the source, and is set by the cutover"


@dataclass(frozen=True)
class Piece:
    kind: str
    object: str
    """What a dump names it by."""
    name: str
    """Its own; of an index, the table's."""


@dataclass(frozen=True)
class Difference:
    kind: str
    name: str
    what: str
    """``missing`` or ``another``"""
    why: str
    """What became of it in the copy; empty where that does not explain it."""


def read(link: psycopg.Connection[Any], schemas: Sequence[str]) -> dict[Piece, str]:
    """Every definition; the session's search_path must be pg_catalog alone."""
    rows = link.execute(SHAPE.encode(), {"schemas": list(schemas)})
    return {Piece(kind, label, name): text for kind, _, label, name, text in rows}


def respelled(link: psycopg.Connection[Any], there: Mapping[Piece, str], here: Mapping[Piece, str]) -> dict[Piece, str]:
    """The source's definitions, those of views as the target's server writes them down.

    Releases of Postgres differ in that (16 leaves out a single table's name before its columns), though the views are
    the same. So each whose text differs is made at the target for a moment and read there, where that can be done.
    """
    found = dict(there)
    for piece, text in there.items():
        if piece.kind != "view" or here.get(piece, text) == text:
            continue
        filled, _, query = text.partition(" ")
        with suppress(psycopg.Error), link.transaction(force_rollback=True):
            link.execute(f"create temporary view maia_respelled as {query}".encode())
            (said,) = link.execute("select pg_get_viewdef('pg_temp.maia_respelled'::regclass)").fetchone() or ("",)
            found[piece] = f"{filled} {said}"
    return found


def compare(
    there: Mapping[Piece, str], here: Mapping[Piece, str], told: Sequence[Told], *, serving: bool = False
) -> list[Difference]:
    """What the source has and the target has not, or has otherwise; while it serves, its sequences go on."""
    reasons: dict[str, str] = {}
    for each in told:
        if each.outcome != "moved":
            reasons.setdefault(each.name, f"{each.words}: {each.why}")
    found = []
    for piece, text in there.items():
        if here.get(piece) == text:
            continue
        what = "another" if piece in here else "missing"
        why = _reason(piece, reasons)
        if serving and piece.kind == "sequence" and here.get(piece, "").split(PLACE)[0] == text.split(PLACE)[0]:
            why = GOES_ON
        found.append(Difference(piece.kind, f"{piece.object}", what, why))
    return sorted(found, key=lambda each: (bool(each.why), each.kind, each.name))


def _reason(piece: Piece, reasons: Mapping[str, str]) -> str:
    """Of the object itself, or of the table that it is of."""
    table = piece.name if piece.kind == "index" else piece.object.removesuffix(f" {piece.name}")
    return reasons.get(piece.object) or reasons.get(table, "")
