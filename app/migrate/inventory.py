"""What a database holds, read from its catalogue and changed by nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from app.migrate import tables
from app.migrate.refused import told
from app.migrate.tables import Table

Link = psycopg.Connection[tuple[Any, ...]]

OBJECTS = (Path(__file__).parent / "objects.sql").read_text()
FUNCTIONS = """
select p.oid, l.lanname::text, v.oid::regproc::text, p.prosrc, p.prosecdef,
  coalesce(p.proconfig::text ~ 'search_path', false)
from pg_proc p join pg_language l on l.oid = p.prolang left join pg_proc v on v.oid = l.lanvalidator
where p.oid >= 16384
"""
DEPENDENT = """
select case when d.classid = 'pg_attrdef'::regclass then 'pg_class'::regclass::oid
            when d.classid = 'pg_rewrite'::regclass and r.rulename = '_RETURN' then 'pg_class'::regclass::oid
            else d.classid end,
       case when d.classid = 'pg_attrdef'::regclass then a.adrelid
            when d.classid = 'pg_rewrite'::regclass and r.rulename = '_RETURN' then r.ev_class else d.objid end,
       n.nspname::text, (pg_identify_object(d.refclassid, d.refobjid, 0)).identity
from pg_depend d
left join pg_attrdef a on d.classid = 'pg_attrdef'::regclass and a.oid = d.objid
left join pg_rewrite r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid
join lateral (
  select relnamespace from pg_class where d.refclassid = 'pg_class'::regclass and oid = d.refobjid
  union all select pronamespace from pg_proc where d.refclassid = 'pg_proc'::regclass and oid = d.refobjid
  union all select typnamespace from pg_type where d.refclassid = 'pg_type'::regclass and oid = d.refobjid
) o (nsp) on true
join pg_namespace n on n.oid = o.nsp
where d.objid >= 16384 and d.deptype in ('n', 'a', 'i') and n.nspname = any(%s)
  and not exists (select from pg_depend e where e.classid = d.refclassid and e.objid = d.refobjid and e.deptype = 'e')
"""
REFERENCES = """
select k.conrelid::regclass::text, k.conname::text, k.confrelid::regclass::text, k.convalidated
from pg_constraint k join pg_class c on c.oid = k.confrelid
where k.contype = 'f' and k.conparentid = 0 and c.relnamespace = to_regnamespace('auth')
  and k.connamespace is distinct from to_regnamespace('auth') order by 1, 2
"""
POLICIES = """
select p.oid, array(select case when r = 0 then 'public' else r::regrole::text end from unnest(p.polroles) r)
from pg_policy p
"""
SETTINGS = """
select coalesce(r.rolname::text, ''), split_part(s, '=', 1), substr(s, strpos(s, '=') + 1)
from pg_db_role_setting d left join pg_roles r on r.oid = d.setrole, unnest(d.setconfig) s
where d.setdatabase = (select oid from pg_database where datname = current_database()) order by 1, 2
"""
COUNTS = {
    "vault secrets": ("vault.secrets", "select name, 1 from vault.secrets order by name"),
    "cron jobs": ("cron.job", "select coalesce(jobname, command), 1 from cron.job order by 1"),
    "users": ("auth.users", "select 'users', count(*) from auth.users"),
    "files": ("storage.objects", "select bucket_id, count(*) from storage.objects group by 1 order by 1"),
}
"""Rows of the platform's that are worth a word: table, and a query of names and numbers."""


@dataclass(frozen=True)
class Thing:
    """One object."""

    classid: int
    oid: int
    kind: str
    schema: str
    name: str

    @property
    def key(self) -> tuple[int, int]:
        return self.classid, self.oid


@dataclass(frozen=True)
class Function:
    language: str
    body: str
    definer: bool
    pinned: bool
    """It says itself where names are looked up."""
    fault: str
    """What its language's own validator says of it; empty where nothing."""


@dataclass(frozen=True)
class Inventory:
    server: int
    database: str
    role: str
    encoding: str
    size: int
    now: datetime
    skew: float
    """Seconds that its clock is ahead of ours."""
    logical: bool
    """Whether it can be followed by logical replication, and the role may."""
    things: tuple[Thing, ...]
    tables: tuple[Table, ...]
    extensions: dict[str, tuple[str, str]]
    """Name to schema and version."""
    functions: dict[int, Function]
    leaning: dict[tuple[int, int], list[tuple[str, str]]]
    """Object to the schema and name of what it cannot be made without, in schemas that stay."""
    references: tuple[tuple[str, str, str, bool], ...]
    """Foreign keys into auth: table, name, referred table, whether its rows were ever checked."""
    policies: dict[int, list[str]]
    """Policy to its roles."""
    roles: frozenset[str]
    settings: tuple[tuple[str, str, str], ...]
    """Role (empty for the database itself), name and value."""
    counts: dict[str, dict[str, int]]
    large_objects: int


def read(link: Link, staying: list[str]) -> Inventory:
    """Look at everything; ``staying`` are schemas that others must not lean on."""
    row = link.execute(
        """select current_setting('server_version_num')::int, current_database()::text, current_user::text,
             pg_encoding_to_char(encoding)::text, pg_database_size(oid), clock_timestamp(),
             current_setting('wal_level') = 'logical'
               and (select rolreplication or rolsuper from pg_roles where rolname = current_user)
           from pg_database where datname = current_database()"""
    ).fetchone()
    assert row
    server, database, role, encoding, size, now, logical = row
    skew = (now - datetime.now(UTC)).total_seconds()
    link.execute("set search_path = pg_catalog")
    things = tuple(Thing(*found) for found in link.execute(OBJECTS))
    found = tables.read(link)
    extensions = {
        name: (schema, version)
        for name, schema, version in link.execute(
            """select extname::text, extnamespace::regnamespace::text, extversion from pg_extension
               where extname <> 'plpgsql'"""
        )
    }
    leaning: dict[tuple[int, int], list[tuple[str, str]]] = {}
    for classid, oid, schema, name in link.execute(DEPENDENT, [staying]):
        leaning.setdefault((classid, oid), []).append((schema, name))
    references = tuple(link.execute(REFERENCES).fetchall())
    policies: dict[int, list[str]] = dict(link.execute(POLICIES).fetchall())
    roles = frozenset(name for (name,) in link.execute("select rolname::text from pg_roles where rolname !~ '^pg_'"))
    settings = tuple(link.execute(SETTINGS).fetchall())
    (large,) = link.execute("select count(*) from pg_largeobject_metadata").fetchone() or (0,)
    link.execute("reset search_path")
    return Inventory(
        server, database, role, encoding, size, now, skew, logical, things, tuple(found), extensions,
        _functions(link), leaning, references, policies, roles, settings, _counts(link), large,
    )  # fmt: skip


def _functions(link: Link) -> dict[int, Function]:
    """Each with what its validator says, where names are looked up as this database's settings have it."""
    found = {}
    for oid, language, validator, body, definer, pinned in link.execute(FUNCTIONS).fetchall():
        fault = ""
        if language in ("sql", "plpgsql"):
            try:
                link.execute(sql.SQL("select {}(%s)").format(sql.SQL(validator)), [oid])
            except psycopg.Error as error:
                fault = told(error)
        found[oid] = Function(language, body or "", definer, pinned, fault)
    return found


def _counts(link: Link) -> dict[str, dict[str, int]]:
    found = {}
    for what, (table, query) in COUNTS.items():
        try:
            if link.execute("select to_regclass(%s)", [table]).fetchone() == (None,):
                continue
            found[what] = {str(name): int(number) for name, number in link.execute(query.encode())}
        except psycopg.Error as error:
            found[what] = {told(error): 0}
    return found
