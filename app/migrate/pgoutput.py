"""What a slot tells of changed rows, in the form that Postgres's own subscribers read (pgoutput, version 1). No I/O."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
KEY: Final = 1
"""The flag of a column that is part of what a row is known by."""


class Unchanged:
    """A large value that an update left as it was, and that is not sent."""


UNCHANGED: Final = Unchanged()
Value = str | None | Unchanged
Row = tuple[Value, ...]


@dataclass(frozen=True)
class Begin:
    lsn: int
    """Where its commit begins: a snapshot or a slot has it if that lies behind this."""


@dataclass(frozen=True)
class Commit:
    end: int
    at: datetime


@dataclass(frozen=True)
class Relation:
    number: int
    schema: str
    name: str
    whole: bool
    """Rows are known by all their columns."""
    columns: tuple[str, ...]
    key: tuple[str, ...]


@dataclass(frozen=True)
class Insert:
    relation: int
    new: Row


@dataclass(frozen=True)
class Update:
    relation: int
    old: Row | None
    """What it was known by, where that changed."""
    new: Row


@dataclass(frozen=True)
class Delete:
    relation: int
    old: Row


@dataclass(frozen=True)
class Truncate:
    relations: tuple[int, ...]


Change = Insert | Update | Delete | Truncate
Message = Begin | Commit | Relation | Change


def read(data: bytes) -> Message | None:
    """One message; none for what says nothing of rows.

    Raises:
        ValueError: it is of a kind that nobody asked for.
    """
    kind, reader = chr(data[0]), _Reader(data, 1)
    if kind in "OYM":
        return None
    if kind not in READ:
        raise ValueError(f"a message of kind {kind!r}")
    return READ[kind](reader)


def lsn(text: str) -> int:
    """A place in the log as a number."""
    high, _, low = text.partition("/")
    return (int(high, 16) << 32) + int(low, 16)


def text(place: int) -> str:
    """A place in the log as Postgres writes it."""
    return f"{place >> 32:X}/{place & 0xFFFFFFFF:X}"


class _Reader:
    def __init__(self, data: bytes, at: int) -> None:
        self.data, self.at = data, at

    def number(self, form: str) -> int:
        (found,) = struct.unpack_from(f"!{form}", self.data, self.at)
        self.at += struct.calcsize(f"!{form}")
        return int(found)

    def letter(self) -> str:
        return chr(self.number("B"))

    def word(self) -> str:
        end = self.data.index(0, self.at)
        found = self.data[self.at : end].decode()
        self.at = end + 1
        return found

    def row(self) -> Row:
        return tuple(self._value() for _ in range(self.number("h")))

    def _value(self) -> Value:
        match self.letter():
            case "n":
                return None
            case "u":
                return UNCHANGED
            case _:
                size = self.number("i")
                self.at += size
                return self.data[self.at - size : self.at].decode()


def _begin(reader: _Reader) -> Begin:
    return Begin(reader.number("Q"))


def _commit(reader: _Reader) -> Commit:
    reader.number("B")
    reader.number("Q")
    end = reader.number("Q")
    return Commit(end, EPOCH + timedelta(microseconds=reader.number("q")))


def _relation(reader: _Reader) -> Relation:
    number, schema, name, identity = reader.number("I"), reader.word(), reader.word(), reader.letter()
    columns, key = [], []
    for _ in range(reader.number("h")):
        flags, column = reader.number("B"), reader.word()
        reader.number("I")
        reader.number("i")
        columns.append(column)
        if flags & KEY:
            key.append(column)
    return Relation(number, schema, name, identity == "f", tuple(columns), tuple(key))


def _insert(reader: _Reader) -> Insert:
    number = reader.number("I")
    reader.letter()
    return Insert(number, reader.row())


def _update(reader: _Reader) -> Update:
    number, old = reader.number("I"), None
    if reader.letter() in "KO":
        old = reader.row()
        reader.letter()
    return Update(number, old, reader.row())


def _delete(reader: _Reader) -> Delete:
    number = reader.number("I")
    reader.letter()
    return Delete(number, reader.row())


def _truncate(reader: _Reader) -> Truncate:
    many = reader.number("I")
    reader.number("B")
    return Truncate(tuple(reader.number("I") for _ in range(many)))


READ: dict[str, Callable[[_Reader], Message]] = {
    "B": _begin, "C": _commit, "R": _relation, "I": _insert, "U": _update, "D": _delete, "T": _truncate,
}  # fmt: skip
