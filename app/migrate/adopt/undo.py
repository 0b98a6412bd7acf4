"""The way back: rows that were adopted are removed, but for those that somebody has made their own since."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import psycopg
from psycopg import sql

from app.migrate.adopt import facts, journal
from app.migrate.adopt.adoption import chosen
from app.migrate.adopt.binding import precedence
from app.migrate.adopt.facts import Facts
from app.migrate.adopt.maps import Map
from app.migrate.adopt.outcome import Undone
from app.migrate.adopt.table import image, key
from app.migrate.target import Connect, serious

Link = psycopg.Connection[tuple[Any, ...]]
Say = Callable[[str], None]

ROWS = sql.Identifier("pg_temp", "leaving")


def undo(connect: Connect, say: Say, table: str = "", *, changed: bool = False) -> list[Undone]:
    """Remove what was adopted, what refers to others before these.

    Args:
        table: only this one of the application's.
        changed: also rows that were written to since.

    Raises:
        Refused: it cannot go on; the same goes on from there.
    """
    with connect() as link:
        link.autocommit = True
        journal.open_(link)
        known = facts.read(link)
        adopted = [name for (name,) in link.execute("select distinct name from maia_migrate.adopted order by 1")]
        wanted = {each.name: each for each in chosen(table)}
        found = []
        for each in _backwards([wanted[name] for name in adopted if name in wanted], known):
            say(each.name)
            try:
                with link.transaction():
                    found.append(_Undo(link, each, known).undo(changed=changed))
            except psycopg.Error as error:
                serious(error)
                raise
        return found


def _backwards(found: Sequence[Map], known: Facts) -> list[Map]:
    places = precedence({each.target for each in found}, known)
    return sorted(found, key=lambda each: -places[each.target])


class _Undo:
    def __init__(self, link: Link, each: Map, known: Facts) -> None:
        self.link, self.map, self.known = link, each, known
        self.target = sql.Identifier("maia", each.target)
        self.own = known.keys[f"maia.{each.target}"]

    def undo(self, *, changed: bool) -> Undone:
        self.link.execute(
            sql.SQL(
                """create temporary table leaving as
                   select a.target, m.ctid as at, m.ctid is null as gone, {image} is distinct from a.became as changed,
                     false as held
                   from maia_migrate.adopted a left join {table} m on {key} = a.target where a.name = {name};
                   create index on {rows} (at); analyze {rows}"""
            ).format(
                image=image("m"), table=self.target, key=key("m", self.own), name=sql.Literal(self.map.name), rows=ROWS
            )
        )
        going = sql.SQL("not l.gone") if changed else sql.SQL("not l.gone and not l.changed")
        self._hold(going)
        removed = self._remove(sql.SQL("{} and not l.held").format(going))
        gone = self._forget()
        written = () if changed else self._keys(sql.SQL("l.changed and not l.gone"))
        held = self._keys(sql.SQL("l.held"))
        self.link.execute(sql.SQL("drop table {}").format(ROWS))
        return Undone(self.map.name, self.map.target, removed, gone, written, held)

    def _hold(self, going: sql.Composable) -> None:
        """Keep rows that others hang on: removing them would remove these, or what they say of them."""
        for each in self.known.references:
            if each.target != self.map.target:
                continue
            same = sql.SQL(" and ").join(
                sql.SQL("c.{} = m.{}").format(sql.Identifier(ours), sql.Identifier(theirs))
                for ours, theirs in zip(each.columns, each.theirs)
            )
            parts = {
                "rows": ROWS,
                "table": self.target,
                "other": sql.Identifier("maia", each.table),
                "same": same,
                "going": going,
            }
            stays: sql.Composable = sql.SQL("true")
            if each.table == self.map.target:
                stays = sql.SQL("not exists (select from {rows} l where l.at = c.ctid and {going})").format(**parts)
            query = """update {rows} l set held = true from {table} m
                where m.ctid = l.at and {going} and exists (select from {other} c where {same} and {stays})"""
            self.link.execute(sql.SQL(query).format(**parts, stays=stays))
            if each.table == self.map.target:
                query = """with recursive staying as (
                      select l.at from {rows} l where l.held
                      union select m.ctid from staying s join {table} c on c.ctid = s.at join {table} m on {same})
                    update {rows} l set held = true from staying s where l.at = s.at and {going}"""
                self.link.execute(sql.SQL(query).format(**parts))

    def _remove(self, wanted: sql.Composable) -> int:
        query = sql.SQL(
            """with removed as (
                 delete from {table} m using {rows} l where m.ctid = l.at and {wanted} returning l.target)
               delete from maia_migrate.adopted a using removed r where a.name = {name} and a.target = r.target"""
        ).format(table=self.target, rows=ROWS, wanted=wanted, name=sql.Literal(self.map.name))
        return self.link.execute(query).rowcount

    def _forget(self) -> int:
        """What somebody else removed is adopted no more."""
        return self.link.execute(
            sql.SQL(
                "delete from maia_migrate.adopted a using {} l where a.name = {} and a.target = l.target and l.gone"
            ).format(ROWS, sql.Literal(self.map.name))
        ).rowcount

    def _keys(self, wanted: sql.Composable) -> tuple[str, ...]:
        query = sql.SQL("select l.target from {} l where {} order by 1").format(ROWS, wanted)
        return tuple(target for (target,) in self.link.execute(query))
