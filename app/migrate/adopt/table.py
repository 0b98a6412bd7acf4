"""One map carried out, in the transaction that is open: rows made, written, compared, noted."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
from psycopg import sql
from psycopg.errors import DataError, IntegrityError, RaiseException

from app.migrate.adopt import values
from app.migrate.adopt.binding import Bound
from app.migrate.adopt.envelope import Key
from app.migrate.adopt.facts import Reference
from app.migrate.adopt.outcome import SHOWN, Outcome, Reason
from app.migrate.refused import Refused
from app.schema.sealed import Unreadable

Link = psycopg.Connection[tuple[Any, ...]]

BATCH = 1000
"""Rows that are written at once; where one of them is refused, it is looked for by halves."""
PLACE, SOURCE, TAKEN, SAID, FAULT, THERE = (sql.Identifier(f"~{name}") for name in
                                            ("place", "source", "taken", "said", "fault", "there"))  # fmt: skip
ROWS = sql.Identifier("pg_temp", "adopting")
DONE = sql.SQL("{} is null and not {}").format(FAULT, THERE)


def key(row: str, own: Sequence[str]) -> sql.Composed:
    """The key of a row of ours, as the log of changes writes it."""
    names = [sql.SQL("{}.{}").format(sql.Identifier(row), sql.Identifier(name)) for name in own]
    if len(names) == 1:
        return sql.SQL("(to_jsonb({}) #>> '{{}}')").format(names[0])
    return sql.SQL("jsonb_build_array({})::text").format(sql.SQL(", ").join(names))


def image(row: str) -> sql.Composed:
    return sql.SQL("maia.row_image(to_jsonb({}))").format(sql.Identifier(row))


class Table:
    def __init__(self, link: Link, bound: Bound, secret: Key) -> None:
        self.link, self.bound, self.secret = link, bound, secret

    def adopt(self) -> Outcome:
        """Write what is not there yet.

        Raises:
            Refused: what was written is not what was read; the transaction must not be kept.
        """
        bound, each = self.bound, self.bound.map
        changed = self._changed()
        before = self._one("select count(*) from maia_migrate.adopted where name = %s", [each.name])
        self._make()
        for reference in bound.references:
            if reference.target == each.target:
                self._arrange(reference)
            else:
                self._orphans(reference)
        self._enclose()
        self._write()
        digest = self._compared()
        self._note()
        adopted = self._one(sql.SQL("select count(*) from {} where {}").format(ROWS, DONE))
        there = self._one(sql.SQL("select count(*) from {} where {}").format(ROWS, THERE))
        refused = tuple(self._refused())
        self.link.execute(sql.SQL("drop table {}").format(ROWS))
        return Outcome(
            each.name, each.source, each.target, "", adopted, before, there, refused, changed,
            bound.taken, bound.hidden, bound.homeless, digest,
        )  # fmt: skip

    # -- rows as they will be -----------------------------------------------------------------------------------------

    def _make(self) -> None:
        """The rows that are not adopted yet, in a temporary table, without what becomes ciphertext."""
        bound = self.bound
        columns: list[sql.Composable] = [
            sql.SQL("{} as {}").format(value.take, sql.Identifier(name)) for name, value in bound.values.items()
        ]
        columns += [sql.SQL("null::bytea as {}").format(sql.Identifier(name)) for name in bound.packed]
        faults = [
            sql.SQL("case when {} then {} end").format(value.fault, sql.Literal(f"{name} is not of its kind"))
            for name, value in bound.values.items()
            if value.fault is not None
        ]
        parts = {
            "once": sql.SQL("distinct on ({})").format(bound.key),
            "key": bound.key,
            "taken": self._taken(),
            "said": _hashed([value.said for value in bound.values.values()]),
            "fault": sql.SQL("concat_ws('; ', {})").format(sql.SQL(", ").join(faults)) if faults else sql.SQL("''"),
            "columns": sql.SQL(", ").join(columns),
            "source": bound.source,
            "wanted": bound.wanted,
            "name": sql.Literal(bound.map.name),
            "order": bound.order,
        }
        query = sql.SQL("""create temporary table adopting as
            select row_number() over () as "~place", f.* from (
              select {once} {key} as "~source", {taken} as "~taken", {said} as "~said", nullif({fault}, '') as "~fault",
                false as "~there", {columns}
              from {source} t where {wanted} and not exists (
                select from maia_migrate.adopted a where a.name = {name} and a.source = {key})
              order by {key}, {order}) f""").format(**parts)
        self.link.execute(query)
        self.link.execute(sql.SQL("create index on {} ({})").format(ROWS, PLACE))
        self.link.execute(sql.SQL("create index on {} ({})").format(ROWS, SOURCE))
        self.link.execute(sql.SQL("analyze {}").format(ROWS))
        self.link.execute(
            sql.SQL("update {} a set {} = true where exists (select from {} m where {})").format(
                ROWS, THERE, bound.target, self._same()
            )
        )

    def _orphans(self, reference: Reference) -> None:
        """Refuse at once what refers to nothing; one by one it would take long where there are many."""
        same = [
            sql.SQL("(r.{} = a.{ours} or a.{ours} is null)").format(sql.Identifier(theirs), ours=sql.Identifier(ours))
            for ours, theirs in zip(reference.columns, reference.theirs)
        ]
        query = sql.SQL(
            "update {} a set {} = {} where {} and a.{} is not null and not exists (select from maia.{} r where {})"
        ).format(
            ROWS, FAULT, sql.Literal(_absent(reference.name)), DONE_OF_A, sql.Identifier(reference.columns[0]),
            sql.Identifier(reference.target), sql.SQL(" and ").join(same),
        )  # fmt: skip
        self.link.execute(query)

    def _arrange(self, reference: Reference) -> None:
        """Rows of the table that others of it refer to come before these."""
        names = {
            "rows": ROWS,
            "ours": sql.Identifier(reference.columns[0]),
            "theirs": sql.Identifier(reference.theirs[0]),
        }
        for name in ("ours", "theirs"):
            self.link.execute(sql.SQL("create index on {} ({})").format(ROWS, names[name]))
        self.link.execute(
            sql.SQL(
                """with recursive levels as (
                     select a.{theirs} as key, 0 as level from {rows} a
                     where not exists (select from {rows} b where b.{theirs} = a.{ours})
                     union all select a.{theirs}, l.level + 1 from levels l join {rows} a on a.{ours} = l.key),
                   places as (
                     select a.ctid as at, row_number() over (order by l.level, a."~place") as place
                     from {rows} a left join levels l on l.key = a.{theirs})
                   update {rows} a set "~place" = p.place from places p where p.at = a.ctid"""
            ).format(**names)
        )

    def _taken(self) -> sql.Composable:
        bound = self.bound
        return _hashed([
            sql.SQL("to_jsonb(t.{})").format(sql.Identifier(name)) for name in bound.taken if name not in bound.hidden
        ])  # fmt: skip

    def _same(self) -> sql.Composable:
        """That a row ``m`` of ours is the row ``a`` that is being adopted."""
        return sql.SQL(" and ").join(sql.SQL("m.{0} = a.{0}").format(sql.Identifier(name)) for name in self.bound.own)

    def _enclose(self) -> None:
        if not self.bound.packed:
            return
        self.link.execute("create temporary table enclosed (place bigint, name text, content bytea)")
        for rows in self._plain(DONE_OF_A):
            with self.link.cursor() as cursor:
                cursor.executemany(
                    "insert into pg_temp.enclosed values (%s, %s, %s)",
                    [
                        (place, name, self.secret.enclose(self.bound.map.target, name, row, text))
                        for place, row, *texts in rows
                        for name, text in zip(self.bound.packed, texts)
                        if text is not None
                    ],
                )
        for name in self.bound.packed:
            self.link.execute(
                sql.SQL(
                    "update {} a set {} = e.content from pg_temp.enclosed e where e.place = a.{} and e.name = {}"
                ).format(ROWS, sql.Identifier(name), PLACE, sql.Literal(name))
            )
        self.link.execute("drop table pg_temp.enclosed")

    def _plain(self, wanted: sql.Composable) -> Iterator[list[tuple[Any, ...]]]:
        """Place, key of ours and what becomes ciphertext, in batches; nothing of it is written anywhere."""
        needed = {name for name in self.bound.packed if name == "handed"}
        texts = [
            sql.SQL("{}::text" if name in needed else "nullif({}::text, '{{}}')").format(text)
            for name, text in self.bound.packed.items()
        ]
        query = sql.SQL("select a.{}, {}, {} from {} a join {} t on {} = a.{} where {} order by 1").format(
            PLACE, key("a", self.bound.own), sql.SQL(", ").join(texts), ROWS, self.bound.source, self.bound.key, SOURCE,
            wanted,
        )  # fmt: skip
        with self.link.cursor(name=f"plain_{uuid.uuid4().hex}") as cursor:
            cursor.execute(query)
            while rows := cursor.fetchmany(BATCH):
                yield rows

    # -- rows as they are ---------------------------------------------------------------------------------------------

    def _write(self) -> None:
        last = self._one(sql.SQL("select coalesce(max({}), 0) from {}").format(PLACE, ROWS))
        for first in range(1, last + 1, BATCH):
            self._between(first, min(first + BATCH, last + 1))

    def _between(self, first: int, past: int) -> None:
        """Write these places; where one is refused, the halves by themselves."""
        columns = sql.SQL(", ").join(map(sql.Identifier, (*self.bound.values, *self.bound.packed)))
        query = sql.SQL("insert into {} ({}) select {} from {} where {} >= {} and {} < {} and {} order by {}").format(
            self.bound.target, columns, columns, ROWS, PLACE, first, PLACE, past, DONE, PLACE
        )
        try:
            with self.link.transaction():
                self.link.execute(query)
        except (IntegrityError, DataError, RaiseException) as error:
            if past - first > 1:
                middle = (first + past) // 2
                self._between(first, middle)
                self._between(middle, past)
                return
            self.link.execute(
                sql.SQL("update {} set {} = %s where {} = %s").format(ROWS, FAULT, PLACE), [_why(error), first]
            )

    def _compared(self) -> str:
        """Read back what was written, turned into what it was.

        Returns:
            The digest of both.
        """
        backs = [value.back for value in self.bound.values.values()]
        query = sql.SQL(
            """select count(*) = (select count(*) from {rows} where {done}),
                 coalesce(sum(a."~said"), 0)::text, coalesce(sum({back}), 0)::text,
                 (array_agg(a."~source") filter (where a."~said" <> {back}))[1]
               from {rows} a join {target} m on {same} where {done}"""
        ).format(rows=ROWS, done=DONE, target=self.bound.target, same=self._same(), back=_hashed(backs))
        row = self.link.execute(query).fetchone()
        assert row
        every, said, back, other = row
        if not every or said != back:
            raise Refused(
                f"was not written as it was read (key {other})",
                self.bound.map.source,
                "nothing was kept of it; report this",
            )
        self._disclosed()
        return str(said)

    def _disclosed(self) -> None:
        for name, column in ((name, sql.Identifier(name)) for name in self.bound.packed):
            at = list(self.bound.packed).index(name)
            for rows in self._plain(DONE_OF_A):
                texts = {row[1]: row[2 + at] for row in rows}
                query = sql.SQL("select {}, m.{} from {} a join {} m on {} where a.{} between %s and %s and {}").format(
                    key("m", self.bound.own), column, ROWS, self.bound.target, self._same(), PLACE, DONE_OF_A
                )
                for row, content in self.link.execute(query, [rows[0][0], rows[-1][0]]):
                    if self._opened(name, row, content) != texts[row]:
                        raise Refused(
                            f"{name} does not open as what it was (key {row})", self.bound.map.target,
                            "nothing was kept of it; report this",
                        )  # fmt: skip

    def _opened(self, name: str, row: str, content: bytes | None) -> str | None:
        try:
            return None if content is None else self.secret.disclose(self.bound.map.target, name, row, content)
        except Unreadable:
            return None

    def _note(self) -> None:
        self.link.execute(
            sql.SQL(
                """insert into maia_migrate.adopted (name, source, target, taken, said, became)
                   select {}, a."~source", {}, a."~taken", a."~said", {} from {} a join {} m on {} where {}"""
            ).format(
                sql.Literal(self.bound.map.name),
                key("m", self.bound.own),
                image("m"),
                ROWS,
                self.bound.target,
                self._same(),
                DONE_OF_A,
            )
        )

    # -- what is told -------------------------------------------------------------------------------------------------

    def _changed(self) -> tuple[str, ...]:
        """Rows that were adopted before and are others in public by now."""
        query = sql.SQL(
            """select a.source from maia_migrate.adopted a join {} t on {} = a.source
               where a.name = {} and a.taken <> {} order by 1"""
        ).format(self.bound.source, self.bound.key, sql.Literal(self.bound.map.name), self._taken())
        if self.bound.map.key:
            return ()
        return tuple(source for (source,) in self.link.execute(query))

    def _refused(self) -> Iterator[Reason]:
        query = sql.SQL(
            """select {0}, count(*), (array_agg({1} order by {2}))[1:{3}] from {4}
               where {0} is not null group by 1 order by 2 desc, 1"""
        ).format(FAULT, SOURCE, PLACE, SHOWN, ROWS)
        for why, rows, keys in self.link.execute(query):
            yield Reason(why, rows, tuple(keys))
        if self.bound.loose:
            query = sql.SQL(
                """select count(*), (array_agg(k.key))[1:{}] from (
                     select {key} as key, row_number() over (partition by {key}) as n from {} t where {}) k
                   where k.n > 1"""
            ).format(SHOWN, self.bound.source, self.bound.wanted, key=self.bound.key)
            for rows, keys in self.link.execute(query):
                if rows:
                    yield Reason("has the key of another row", rows, tuple(keys))

    def _one(self, query: Any, parameters: Sequence[Any] = ()) -> int:
        row = self.link.execute(query, parameters).fetchone()
        assert row
        return int(row[0])


DONE_OF_A = sql.SQL("a.{} is null and not a.{}").format(FAULT, THERE)


def _hashed(parts: Sequence[sql.Composable]) -> sql.Composable:
    return sql.SQL("hashtextextended(({})::text, 0)").format(values.array(parts))


def quoteless(error: psycopg.Error) -> str:
    """The server's words, which may quote a value, without it."""
    return re.sub(r'"[^"]*"', "…", error.diag.message_primary or "the server would not")


def _why(error: psycopg.Error) -> str:
    """Which rule of ours a row breaks; nothing of what it holds."""
    if error.sqlstate == "23503":
        return _absent(error.diag.constraint_name)
    if error.sqlstate == "23505":
        return f"is there twice ({error.diag.constraint_name})"
    if error.sqlstate == "23502":
        return f"says nothing of {error.diag.column_name}"
    if error.sqlstate in ("23514", "23P01") and error.diag.constraint_name:
        return f"breaks {error.diag.constraint_name}"
    return quoteless(error)


def _absent(constraint: str | None) -> str:
    return f"what it refers to is not there ({constraint})"
