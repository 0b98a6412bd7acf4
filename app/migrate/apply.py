"""Changes written as they come, each to the row that it is of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
from psycopg import sql

from app.migrate.ends import End, Link
from app.migrate.pgoutput import UNCHANGED, Change, Delete, Insert, Relation, Row, Truncate, Update
from app.migrate.refused import Refused, told
from app.migrate.tables import Table
from app.migrate.target import serious

WAITING = 2000
LARGE = 8 << 20
"""Changes, and characters in them, that are held until they are written."""
ALWAYS = """
select n.nspname || '.' || c.relname, array_agg(a.attname::text) from pg_attribute a
join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
where a.attidentity = 'a' group by 1
"""
Statement = tuple[str, sql.Composed]
"""Whether it must find each row (``one``) or takes all there are, and its text."""


class Changed(Refused):
    """A table is not what it was when it began to be followed."""


class Applier:
    """Writes to one end; the order of changes is kept table by table, as no foreign key is looked at on the way."""

    def __init__(self, end: End, link: Link, tables: Mapping[str, Table]) -> None:
        self.end, self.link, self.tables = end, link, tables
        self.always: dict[str, list[str]] = dict(link.execute(ALWAYS).fetchall())
        self.known: dict[int, Relation] = {}
        self._waiting: dict[int, list[tuple[Statement, list[Any]]]] = {}
        self._held = self._size = 0

    def meet(self, relation: Relation) -> None:
        """Learn what the columns of later changes are.

        Raises:
            Changed: the table is another one here.
        """
        full = f"{relation.schema}.{relation.name}"
        table = self.tables.get(full)
        here = set(table.copied) if table else set()
        if other := sorted(here ^ set(relation.columns)):
            raise Changed(
                f"its definition was changed while it was followed: column {', '.join(other)}",
                full,
                f"change it at the {self.end.word} in the same way and run the same again",
            )
        self.known[relation.number] = relation

    def take(self, change: Change) -> None:
        if isinstance(change, Truncate):
            for number in change.relations:
                # Others refer to it, whose rows are not looked at: deleted, as it cannot be truncated alone.
                self._hold(number, ("all", sql.SQL("delete from only {}").format(self._name(number))), [])
            return
        relation = self.known[change.relation]
        match change:
            case Insert():
                self._insert(relation, change.new)
            case Update():
                self._update(relation, change)
            case Delete():
                condition, values = self._which(relation, change.old, 0)
                text = sql.SQL("delete from only {} where {}").format(self._name(relation.number), condition)
                self._hold(relation.number, ("one", text), values)

    def write(self) -> None:
        """Everything that is held.

        Raises:
            Refused: a row that was changed is not here, or cannot be as it is there.
        """
        for number, waiting in self._waiting.items():
            relation = self.known[number]
            try:
                with self.end.acting(self.link):
                    for statement, rows in _runs(waiting):
                        self._run(relation, statement, rows)
            except psycopg.Error as error:
                serious(error)
                raise Refused(
                    told(error), f"{relation.schema}.{relation.name}", "mend it and run the same again: nothing is lost"
                ) from None
        self._waiting, self._held, self._size = {}, 0, 0

    def _run(self, relation: Relation, statement: Statement, rows: Sequence[Sequence[Any]]) -> None:
        kind, text = statement
        with psycopg.RawCursor(self.link) as cursor:
            cursor.executemany(text, rows)
            if kind == "one" and cursor.rowcount != len(rows):
                raise Refused(
                    f"{len(rows) - cursor.rowcount} rows that were changed are not at the {self.end.word}",
                    f"{relation.schema}.{relation.name}",
                    "was written to by somebody else: maia migrate sync --stop, then sync compares it anew",
                )

    def _hold(self, number: int, statement: Statement, values: list[Any]) -> None:
        self._waiting.setdefault(number, []).append((statement, values))
        self._held += 1
        self._size += sum(len(value) for value in values if value)
        if self._held >= WAITING or self._size >= LARGE:
            self.write()

    def _insert(self, relation: Relation, new: Row) -> None:
        text = sql.SQL("insert into {} ({}) overriding system value values ({})").format(
            self._name(relation.number),
            sql.SQL(", ").join(map(sql.Identifier, relation.columns)),
            sql.SQL(", ").join(map(_place, range(1, len(new) + 1))),
        )
        self._hold(relation.number, ("one", text), list(new))

    def _update(self, relation: Relation, change: Update) -> None:
        fixed = self.always.get(f"{relation.schema}.{relation.name}", ())
        given = [
            (name, value) for name, value in zip(relation.columns, change.new)
            if value is not UNCHANGED and name not in fixed
        ]  # fmt: skip
        if not given:
            return
        setting = sql.SQL(", ").join(_equal(name, number) for number, (name, _) in enumerate(given, start=1))
        condition, values = self._which(relation, change.old or change.new, len(given))
        text = sql.SQL("update only {} set {} where {}").format(self._name(relation.number), setting, condition)
        self._hold(relation.number, ("one", text), [value for _, value in given] + values)

    def _which(self, relation: Relation, row: Row, before: int) -> tuple[sql.Composed, list[Any]]:
        """The condition that finds a row by its key."""
        key = self.tables[f"{relation.schema}.{relation.name}"].key if relation.whole else relation.key
        found = [value for name, value in zip(relation.columns, row) if name in key]
        named = [name for name in relation.columns if name in key]
        places = (_equal(name, number) for number, name in enumerate(named, start=before + 1))
        return sql.SQL(" and ").join(places), found

    def _name(self, number: int) -> sql.Identifier:
        relation = self.known[number]
        return sql.Identifier(relation.schema, relation.name)


def _runs(waiting: Sequence[tuple[Statement, list[Any]]]) -> list[tuple[Statement, list[list[Any]]]]:
    """The same statements that follow each other, together."""
    found: list[tuple[Statement, list[list[Any]]]] = []
    for statement, values in waiting:
        if found and found[-1][0] == statement and values:
            found[-1][1].append(values)
        else:
            found.append((statement, [values]))
    return found


def _place(number: int) -> sql.SQL:
    return sql.SQL(f"${number}")


def _equal(name: str, number: int) -> sql.Composed:
    return sql.SQL("{} = {}").format(sql.Identifier(name), _place(number))
