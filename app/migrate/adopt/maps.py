"""Which table of the application becomes which one of ours, column by column: data, one file per domain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent / "maps"
COMMON = FOLDER / "common.yaml"
"""Where a column of ours is looked for that a map says nothing of."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """Where the value of one column of ours comes from.

    The first of ``sources`` that the table has is taken; ``column.key`` is a key of a JSON object.
    """

    sources: tuple[str, ...] = ()
    until: tuple[str, ...] = ()
    """Of a range: where its end comes from."""
    words: Mapping[str, str] = field(default_factory=dict)
    """Word of the application to ours."""
    otherwise: Any = None
    """What stands where the source has nothing."""
    times: float = 1
    plus: float = 0
    of: str = ""
    """The table of the application that a reference points to, where that is not the one of the same name."""
    salt: str = ""
    """Tells two rows apart that come from one."""
    through: str = ""
    """A column of ours with a reference: this one's value is that row's."""
    packed: bool = False
    """All sources together are one JSON object; of a column for ciphertext they always are."""
    rest: bool = False
    """Everything that no other column took, as one JSON object."""
    unique: bool = False
    """Where two rows have the same, or another has it already, some letters of the row's key are added."""
    count: str = ""
    """A column of ours: rows are numbered within each of its values, the oldest first."""
    look: tuple[str, ...] = ()
    """Table, key and column of the application's: what is taken is found there by the value."""
    rounded: bool = False


@dataclass(frozen=True, kw_only=True)
class Map:
    """One table of the application, or a part of it."""

    name: str
    source: str
    """``schema.table``"""
    target: str
    """A table of ours; empty where it stays."""
    columns: Mapping[str, Column]
    key: tuple[str, ...] = ()
    """By which its rows are told apart, where that is not its primary key: the first row of each is taken."""
    among: tuple[str, ...] = ()
    """``table.column``: only rows whose key is in one of these."""
    where: tuple[str, ...] = ()
    """Columns without which a row is nothing of this map."""
    why: str = ""
    """Why it stays."""


@cache
def read() -> tuple[Map, ...]:
    """All of them, as the files have them."""
    found: list[Map] = []
    for path in sorted(FOLDER.glob("*.yaml")):
        if path != COMMON:
            found += (_map(name, given) for name, given in yaml.safe_load(path.read_text()).items())
    return tuple(found)


@cache
def common() -> Mapping[str, Column]:
    """Where columns are looked for, by their name, in every table."""
    return {name: _column(given) for name, given in yaml.safe_load(COMMON.read_text()).items()}


def _map(name: str, given: Mapping[str, Any]) -> Map:
    if unknown := sorted(given.keys() - {"from", "into", "columns", "key", "among", "where", "stays"}):
        raise ValueError(f"{name}: unknown: {', '.join(unknown)}")
    source = given.get("from", name)
    return Map(
        name=name,
        source=source if "." in source else f"public.{source}",
        target=given.get("into", ""),
        columns={column: _column(each) for column, each in given.get("columns", {}).items()},
        key=tuple(_list(given.get("key"))),
        among=tuple(_list(given.get("among"))),
        where=tuple(_list(given.get("where"))),
        why=given.get("stays", ""),
    )


WORDS = {"from": "sources", "else": "otherwise"}


def _column(given: Any) -> Column:
    if not isinstance(given, dict):
        return Column(sources=tuple(_list(given)))
    made: dict[str, Any] = {WORDS.get(str(word), str(word)): value for word, value in given.items()}
    for word in ("sources", "until", "look"):
        if word in made:
            made[word] = tuple(_list(made[word]))
    if "words" in made:
        made["words"] = {str(theirs): str(ours) for theirs, ours in made["words"].items()}
    return Column(**made)


def _list(given: Any) -> Iterator[str]:
    if given is not None:
        yield from [given] if isinstance(given, str) else given
