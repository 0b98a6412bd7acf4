"""What is told of changed rows, and how two sides are told apart, without a server."""

from __future__ import annotations

import struct
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.migrate import delta, following, pgoutput
from app.migrate.pgoutput import UNCHANGED, Begin, Delete, Insert, Relation, Truncate, Update

HASHES = st.lists(st.integers(min_value=-3, max_value=3), max_size=20).map(sorted)


def word(text: str) -> bytes:
    return text.encode() + b"\0"


def value(given: str | None) -> bytes:
    return b"n" if given is None else b"t" + struct.pack("!i", len(given.encode())) + given.encode()


def row(*values: bytes) -> bytes:
    return struct.pack("!h", len(values)) + b"".join(values)


def test_each_message_is_read_as_it_is_written() -> None:
    columns = b"".join(
        struct.pack("!B", flag) + word(name) + struct.pack("!Ii", 25, -1) for flag, name in ((1, "id"), (0, "ключ"))
    )
    number = struct.pack("!I", 7)
    relation = b"R" + number + word("Odd schema") + word("a.b") + b"d" + struct.pack("!h", 2) + columns
    assert pgoutput.read(relation) == Relation(7, "Odd schema", "a.b", False, ("id", "ключ"), ("id",))
    assert pgoutput.read(b"B" + struct.pack("!QqI", 9 << 32, 0, 5)) == Begin(9 << 32)
    new = row(value("1"), value(None))
    assert pgoutput.read(b"I" + number + b"N" + new) == Insert(7, ("1", None))
    assert pgoutput.read(b"U" + number + b"N" + row(value("é"), b"u")) == Update(7, None, ("é", UNCHANGED))
    assert pgoutput.read(b"U" + number + b"K" + new + b"N" + new) == Update(7, ("1", None), ("1", None))
    assert pgoutput.read(b"D" + number + b"K" + new) == Delete(7, ("1", None))
    assert pgoutput.read(b"T" + struct.pack("!IB", 2, 0) + number + number) == Truncate((7, 7))
    assert pgoutput.read(b"O" + struct.pack("!Q", 1) + word("elsewhere")) is None
    with pytest.raises(ValueError, match="kind 'S'"):
        pgoutput.read(b"S" + number)


@given(st.integers(min_value=0, max_value=2**64 - 1))
def test_a_place_in_the_log_is_the_same_as_text(place: int) -> None:
    assert pgoutput.lsn(pgoutput.text(place)) == place


@given(HASHES, HASHES)
def test_what_is_there_twice_must_be_here_twice(there: list[int], here: list[int]) -> None:
    first = [(each, number) for number, each in enumerate(there)]
    second = [(each, number) for number, each in enumerate(here)]
    missing: Counter[int] = Counter()
    extra: Counter[int] = Counter()
    for side, place in delta.unpaired(iter(first), iter(second)):
        (extra if side else missing)[(here if side else there)[place]] += 1
    assert missing == Counter(there) - Counter(here)
    assert extra == Counter(here) - Counter(there)


def test_every_state_says_who_serves() -> None:
    states = following.SCHEMA.partition("state in (")[2].partition("))")[0]
    assert {each.strip().strip("'") for each in states.split(",")} == set(following.SERVES)
