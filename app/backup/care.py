"""What the tables and indexes of a Postgres want: what autovacuum was not able to keep up with.

Sources: PostgreSQL's manual on routine vacuuming and reindexing, and on ``pgstattuple``, which measures how full pages
are. It is used within a transaction that is rolled back, so no database has it afterwards.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql

from app.backup import fence

Link = psycopg.Connection[Any]
Connect = Callable[[str], AbstractContextManager[Link]]
"""From a database's name to a superuser's connection."""

ROWS = 10_000
"""Dead or changed rows that are not worth a word."""
BEHIND = 2
"""Times autovacuum's own threshold after which it counts as not keeping up."""
FREEZE = 400_000_000
"""Transactions: twice the age at which autovacuum freezes a table by itself; at 2 billion Postgres refuses writes."""
SIZE = 16 * 2**20
"""Bytes of a table or index whose pages are worth being read."""
EMPTY = 50
"""Percent of a table's pages, or of an index's leaves, that are air."""

STATISTICS = """
select s.schemaname, s.relname, n_live_tup, n_dead_tup, n_mod_since_analyze, age(c.relfrozenxid)
from pg_stat_user_tables s join pg_class c on c.oid = s.relid
where n_dead_tup > greatest(%(rows)s, %(behind)s * 0.2 * n_live_tup)
   or n_mod_since_analyze > greatest(%(rows)s, %(behind)s * 0.1 * n_live_tup)
   or age(c.relfrozenxid) > %(freeze)s
order by 1, 2
"""
WANTED = {"rows": ROWS, "behind": BEHIND, "freeze": FREEZE, "size": SIZE}
INVALID = """
select n.nspname, c.relname from pg_index i join pg_class c on c.oid = i.indexrelid
join pg_namespace n on n.oid = c.relnamespace where not i.indisvalid order by 1, 2
"""
TABLES = """
select n.nspname, c.relname, c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'm') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
  and pg_relation_size(c.oid) > %(size)s order by 1, 2
"""
INDEXES = """
select n.nspname, c.relname, c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace
join pg_am a on a.oid = c.relam join pg_index i on i.indexrelid = c.oid
where c.relkind = 'i' and a.amname = 'btree' and i.indisvalid and n.nspname !~ '^pg_'
  and pg_relation_size(c.oid) > %(size)s order by 1, 2
"""


@dataclass(frozen=True, kw_only=True)
class Advice:
    database: str
    object: str
    what: str
    statement: str
    """What mends it, beside everything that runs; empty where that would lock others out."""

    @property
    def action(self) -> str:
        """What it comes to, in a word."""
        return self.statement.partition(" ")[0] or "rewrite"


@dataclass
class Care:
    """What was wanted when it was last looked, for those who watch."""

    wanted: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By database and action."""
    looked: float = 0
    """When, in seconds since the epoch."""

    def turn(self) -> None:
        """Look at the statistics of every database; one that does not answer is another one's business."""
        try:
            self.wanted = Counter((each.database, each.action) for each in examine(fence.connect, pages=False))
            self.looked = time.time()
        except psycopg.Error:
            pass


def examine(connect: Connect, *, pages: bool = True) -> Iterator[Advice]:
    """Everything that wants care.

    Args:
        pages: also read large tables and indexes to see how full they are, which takes a while.

    Raises:
        psycopg.Error: Postgres does not answer.
    """
    with connect("postgres") as link:
        names = fence.databases(link)
    for database in names:
        with connect(database) as link:
            yield from _statistics(link, database)
            for schema, index in link.execute(INVALID).fetchall():
                name = _name(link, schema, index)
                yield Advice(
                    database=database,
                    object=f"{schema}.{index}",
                    what="is not valid: whoever built it was interrupted",
                    statement=f"reindex index concurrently {name}",
                )
            if pages:
                yield from _pages(link, database)


def _statistics(link: Link, database: str) -> Iterator[Advice]:
    for schema, table, live, dead, changed, age in link.execute(STATISTICS, WANTED).fetchall():
        name = _name(link, schema, table)
        if age > FREEZE:
            what, statement = f"was last frozen {age:,} transactions ago", f"vacuum (freeze, analyze) {name}"
        elif dead > max(ROWS, BEHIND * 0.2 * live):
            what, statement = f"holds {dead:,} dead rows beside {live:,}", f"vacuum (analyze) {name}"
        else:
            what, statement = f"{changed:,} rows changed since it was analysed", f"analyze {name}"
        yield Advice(database=database, object=f"{schema}.{table}", what=what, statement=statement)


def _pages(link: Link, database: str) -> Iterator[Advice]:
    with link.transaction(force_rollback=True):
        link.execute("create schema maia_measures")
        link.execute("create extension if not exists pgstattuple schema maia_measures")
        measure = link.execute(
            "select n.nspname from pg_proc p join pg_namespace n on n.oid = p.pronamespace"
            " where p.proname = 'pgstatindex' limit 1"
        ).fetchone()
        assert measure
        schema_of = sql.Identifier(str(measure[0]))
        for schema, index, oid in link.execute(INDEXES, WANTED).fetchall():
            query = sql.SQL("select avg_leaf_density, index_size from {}.pgstatindex(%s::regclass)").format(schema_of)
            density, size = link.execute(query, [oid]).fetchone() or (100, 0)
            if density < 100 - EMPTY:
                yield Advice(
                    database=database,
                    object=f"{schema}.{index}",
                    what=f"of {size >> 20} MiB only {density:.0f} % is used",
                    statement=f"reindex index concurrently {_name(link, schema, index)}",
                )
        for schema, table, oid in link.execute(TABLES, WANTED).fetchall():
            query = sql.SQL(
                "select table_len, approx_free_percent + dead_tuple_percent from {}.pgstattuple_approx(%s::regclass)"
            ).format(schema_of)
            size, air = link.execute(query, [oid]).fetchone() or (0, 0)
            if air > EMPTY:
                yield Advice(
                    database=database,
                    object=f"{schema}.{table}",
                    what=f"{air:.0f} % of {size >> 20} MiB is air for new rows;"
                    " `vacuum full` gives it back and lets nobody in meanwhile",
                    statement="",
                )


def _name(link: Link, schema: Any, name: Any) -> str:
    return sql.Identifier(str(schema), str(name)).as_string(link)
