"""The introduction: each map in a transaction of its own, what others refer to before these."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg

from app.migrate.adopt import binding, facts, journal, maps
from app.migrate.adopt.binding import Bound, Unfit
from app.migrate.adopt.envelope import Key
from app.migrate.adopt.outcome import Outcome
from app.migrate.adopt.table import Table, quoteless
from app.migrate.refused import Refused
from app.migrate.target import Connect, serious

Link = psycopg.Connection[tuple[Any, ...]]
Say = Callable[[str], None]


def plan(connect: Connect, key: Key, say: Say, table: str = "") -> list[Outcome]:
    """Carry everything out and take it back: what the plan says of refused rows is what would become of them.

    Raises:
        Refused: it could not be carried out.
    """
    with _opened(connect) as link:
        with link.transaction(force_rollback=True):
            return list(_outcomes(link, key, say, table))


def adopt(connect: Connect, key: Key, say: Say, table: str = "") -> list[Outcome]:
    """Carry out what was not carried out yet.

    Args:
        table: only this one of the application's.

    Raises:
        Refused: it cannot go on; what was done stays, and the same goes on from there.
    """
    with _opened(connect) as link:
        return list(_outcomes(link, key, say, table))


@contextmanager
def _opened(connect: Connect) -> Iterator[Link]:
    with connect() as link:
        link.autocommit = True
        journal.open_(link)
        yield link


def _outcomes(link: Link, key: Key, say: Say, table: str) -> Iterator[Outcome]:
    known = facts.read(link)
    found = [binding.bind(each, known) for each in chosen(table)]
    fit = binding.ordered([each for each in found if isinstance(each, Bound)], known)
    for place, bound in enumerate(fit, 1):
        say(f"{place} of {len(fit)}: {bound.map.name}")
        yield _outcome(link, bound, key)
    yield from (
        Outcome(each.map.name, each.map.source, each.map.target, each.why, homeless=each.homeless)
        for each in found
        if isinstance(each, Unfit) and each.why
    )


def _outcome(link: Link, bound: Bound, key: Key) -> Outcome:
    try:
        with link.transaction():
            return Table(link, bound, key).adopt()
    except psycopg.Error as error:
        serious(error)
        why = f"its rows cannot be read: {quoteless(error)}"
        return Outcome(bound.map.name, bound.map.source, bound.map.target, why, homeless=bound.homeless)


def chosen(table: str) -> Sequence[maps.Map]:
    """The maps of one table of the application, or all.

    Raises:
        Refused: none is of that table.
    """
    found = [each for each in maps.read() if table in ("", each.name, each.source, each.source.removeprefix("public."))]
    if not found:
        raise Refused("no map is of it", table, "maia migrate adopt --plan names them")
    return found
