"""Views that hold rows, filled here from what came over."""

from __future__ import annotations

from collections.abc import Callable, Collection

import psycopg
from psycopg import sql

from app.migrate import journal
from app.migrate.refused import told
from app.migrate.target import Link, acting, serious

POPULATED = """
select n.nspname::text, c.relname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'm' and c.relispopulated and n.nspname !~ '^pg_'
"""


def populated(link: Link) -> set[tuple[str, str]]:
    """Those that hold rows at the source."""
    return set(link.execute(POPULATED).fetchall())


def refresh(link: Link, names: Collection[tuple[str, str]], say: Callable[[str], None]) -> None:
    rows = link.execute(
        """select number, schema, name from maia_migrate.objects
           where kind = 'MATERIALIZED VIEW' and outcome <> 'left' order by place"""
    ).fetchall()
    for number, schema, name in rows:
        if (schema, name) not in names:
            continue
        say(f"refreshing {schema}.{name}")
        try:
            with link.transaction(), acting(link):
                link.execute(sql.SQL("refresh materialized view {}").format(sql.Identifier(schema, name)))
        except psycopg.Error as error:
            serious(error)
            journal.became(link, number, "changed", f"is empty: {told(error)}")
