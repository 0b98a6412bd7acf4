"""The appliance's end: connections that fill its database, and what is asked of it for that."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql

from app.migrate.inventory import Inventory
from app.migrate.refused import LOST, Refused, told
from app.migrate.scope import OWNER

Link = psycopg.Connection[tuple[Any, ...]]
Connect = Callable[[], Link]
"""A superuser's new connection to the database."""

SESSION = """
set client_min_messages = error; set check_function_bodies = off; set xmloption = content; set statement_timeout = 0;
set lock_timeout = 0; set idle_in_transaction_session_timeout = 0; set default_table_access_method = heap;
set session_replication_role = replica; set synchronous_commit = off; set maintenance_work_mem = '256MB';
set default_transaction_read_only = off; set max_parallel_maintenance_workers = 0;
"""
"""Triggers wait until all is there. pgvector 0.8.0 overflows a buffer when it builds an index in parallel."""
FULL = ("53100", "53200", "53300", "53400", "57P01", "57P02", "57P03", "25006")
"""Out of room, memory, connections; ended, starting, read-only: no fault of an object's."""
MEMBERS = """
select o.name, e.extname::text, n.nspname::text from pg_depend d
join pg_extension e on e.oid = d.refobjid join pg_namespace n on n.oid = e.extnamespace
join lateral (
  select proname::text from pg_proc where d.classid = 'pg_proc'::regclass and oid = d.objid
  union all select typname::text from pg_type where d.classid = 'pg_type'::regclass and oid = d.objid
  union all select opcname::text from pg_opclass where d.classid = 'pg_opclass'::regclass and oid = d.objid
  union all select oprname::text from pg_operator where d.classid = 'pg_operator'::regclass and oid = d.objid
) o (name) on true
where d.refclassid = 'pg_extension'::regclass and d.deptype = 'e' and e.extname = any(%s)
"""
RETRIED = ("40P01", "40001", "55P03")
TRIES = 5
LISTS = ("search_path", "temp_tablespaces", "local_preload_libraries", "session_preload_libraries")


def opened(connect: Connect, path: str) -> Link:
    """A connection to make things with; ``path`` is where the source looks names up."""
    link = connect()
    link.autocommit = True
    link.execute(SESSION)
    link.execute(sql.SQL("set search_path = {}").format(sql.SQL(path)))
    return link


@contextmanager
def acting(link: Link) -> Iterator[None]:
    """As the owner of what comes over, in the transaction that is open."""
    link.execute(sql.SQL("set local role {}").format(sql.Identifier(OWNER)))
    yield
    link.execute("reset role")


def serious(error: psycopg.Error) -> None:
    """Stop where it is the server that fails, not the object.

    Raises:
        Refused: it does, and the same step is made again the next time.
    """
    if error.sqlstate in FULL or (error.sqlstate is None and isinstance(error, LOST)):
        raise Refused(told(error), "target", "mend it and run the same again: it goes on where it was") from None


def members(link: Link, found: Inventory) -> list[tuple[str, str, str]]:
    """What extensions bring that lie elsewhere here: schema at the source, name, schema here."""
    rows = link.execute(MEMBERS, [list(found.extensions)]).fetchall()
    return [
        (found.extensions[extension][0], name, here)
        for name, extension, here in rows
        if found.extensions[extension][0] != here
    ]


def roles(link: Link, wanted: set[str]) -> list[str]:
    """Make the roles that are missing, as whom nobody may log in.

    Returns:
        Which they are.
    """
    there = {name for (name,) in link.execute("select rolname::text from pg_roles")}
    made = sorted(wanted - there)
    for role in made:
        link.execute(sql.SQL("create role {} nologin noinherit").format(sql.Identifier(role)))
        link.execute(sql.SQL("comment on role {} is 'named by what was moved here'").format(sql.Identifier(role)))
    return made


def settings(link: Link, given: Iterable[tuple[str, str, str]], moved: set[str]) -> Iterator[tuple[str, str]]:
    """Set what was set on the source's database.

    Yields:
        The name of each that Postgres would not take, and why.
    """
    database = sql.Identifier(link.info.dbname)
    for role, name, value in given:
        if role or name not in moved:
            continue
        # A list is written as it stands: quoted once more, it would be one word.
        word = sql.SQL(value) if name in LISTS and value else sql.Literal(value)
        try:
            link.execute(
                sql.SQL("alter database {} set {} = {}").format(database, sql.Identifier(*name.split(".")), word)
            )
        except psycopg.Error as error:
            serious(error)
            yield name, told(error)
