"""What must be true of the schema whatever a later version adds, asked of the database's own catalogue."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg

TABLES = """
with tables as (
    select c.oid, c.relname as name, c.relowner, c.relrowsecurity, c.relforcerowsecurity from pg_class c
    where c.relnamespace = 'maia'::regnamespace and c.relkind in ('r', 'p')
)
"""

RULES = {
    "row-security": TABLES
    + """
    select name, 'row security is not enabled and forced' from tables where not (relrowsecurity and relforcerowsecurity)
    """,
    "four-verbs": TABLES
    + """
    select name, 'no policy says who may ' || verb
    from tables cross join (values ('select', 'r'), ('insert', 'a'), ('update', 'w'), ('delete', 'd')) as verbs (verb, command)
    where not exists (select from pg_policy p where p.polrelid = tables.oid and p.polcmd in (verbs.command::"char", '*')
                      and 'authenticated'::regrole = any (p.polroles))
    """,
    "owners": """
    select n.nspname || '.' || c.relname, 'belongs to ' || r.rolname
    from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_roles r on r.oid = c.relowner
    where n.nspname in ('maia', 'auth', 'maia_meta') and (r.rolcanlogin or r.rolname <> 'maia_owner')
    """,
    "logins": """
    select r.rolname, case when r.rolbypassrls then 'a login that passes by row security' else 'a login that acts as the owner' end
    from pg_roles r
    where r.rolcanlogin and not r.rolsuper and (r.rolbypassrls or pg_has_role(r.oid, 'maia_owner', 'member'))
    """,
    "asked-once": r"""
    select c.relname, p.polname || ' asks who it is for each row'
    from pg_policy p join pg_class c on c.oid = p.polrelid,
        lateral (select concat(pg_get_expr(p.polqual, p.polrelid), ' ', pg_get_expr(p.polwithcheck, p.polrelid))) as e (text)
    where c.relnamespace = 'maia'::regnamespace
      and regexp_replace(e.text, $x$SELECT (auth\.\w+\(\)|maia\.(has_role\('\w+'::text\)|may_post\(\)|my_(hosted_)?groups\(\)))$x$, '', 'g')
          ~ '(auth\.\w+|has_role|may_post|my_groups|my_hosted_groups)\('
    """,
    "policy-indexes": r"""
    select distinct c.relname, 'no index begins with ' || found[1] || ', by which a policy filters'
    from pg_policy p join pg_class c on c.oid = p.polrelid,
        regexp_matches(pg_get_expr(p.polqual, p.polrelid), $x$(?<![.\w])(\w+) = \( SELECT auth\.uid\(\) AS uid\)$x$, 'g') as found
    where c.relnamespace = 'maia'::regnamespace and p.polcmd <> 'a'
      and exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = found[1])
      and not exists (
        select from pg_index i join pg_attribute a on a.attrelid = c.oid and a.attnum = i.indkey[0]
        where i.indrelid = c.oid and a.attname = found[1] and i.indpred is null)
    """,
    "reference-indexes": """
    select c.conrelid::regclass::text, c.conname || ' has no index'
    from pg_constraint c where c.contype = 'f' and c.connamespace = 'maia'::regnamespace and not exists (
        select from pg_index i where i.indrelid = c.conrelid and i.indpred is null and i.indkey[0] = any (c.conkey))
    """,
    "hung-rows": """
    select c.conrelid::regclass::text, c.conname || ' lets a row hang on somebody else''s'
    from pg_constraint c
    join pg_attribute link on link.attrelid = c.conrelid and link.attnum = c.conkey[1]
    join pg_attribute mine on mine.attrelid = c.conrelid and mine.attname in ('user_id', 'practitioner_id') and mine.attnum > 0
    join pg_attribute theirs on theirs.attrelid = c.confrelid and theirs.attname = mine.attname and theirs.attnum > 0
    where c.contype = 'f' and c.connamespace = 'maia'::regnamespace and cardinality(c.conkey) = 1
      and link.attname <> mine.attname
      and exists (select from pg_policy p where p.polrelid = c.conrelid and p.polpermissive and (p.polcmd = 'a'
                  or p.polcmd = 'w' and has_column_privilege('authenticated', c.conrelid, link.attnum, 'update'))
                  and 'authenticated'::regrole = any (p.polroles)
                  and pg_get_expr(p.polwithcheck, p.polrelid) not like '%' || link.attname || ' %')
    """,
    "search-paths": """
    select p.oid::regprocedure::text, 'looks names up where its caller says'
    from pg_proc p where p.pronamespace in ('maia'::regnamespace, 'auth'::regnamespace)
      and not exists (select from unnest(p.proconfig) as setting where setting like 'search_path=%')
    """,
    "views": """
    select c.relname, 'a view that reads as its owner' from pg_class c
    where c.relnamespace = 'maia'::regnamespace and c.relkind = 'v'
      and not coalesce('security_invoker=true' = any (c.reloptions), false)
    """,
    "beyond-rows": """
    select table_name, grantee || ' may ' || lower(privilege_type) from information_schema.role_table_grants
    where table_schema = 'maia' and grantee in ('anon', 'authenticated', 'service_role', 'PUBLIC')
      and privilege_type not in ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
    """,
    "anonymous-writes": """
    select table_name, 'anon may ' || lower(privilege_type) from information_schema.role_table_grants
    where table_schema = 'maia' and grantee in ('anon', 'PUBLIC') and privilege_type <> 'SELECT'
    """,
    "sealed": """
    select c.relname || '.' || a.attname, 'text beside a sealed column of the same table'
    from pg_attribute a join pg_class c on c.oid = a.attrelid
    where c.relnamespace = 'maia'::regnamespace and a.atttypid in ('maia.prose'::regtype, 'jsonb'::regtype, 'maia.fields'::regtype)
      and exists (select from pg_attribute s where s.attrelid = c.oid and s.atttypid = 'maia.sealed'::regtype)
    """,
    "vectors": """
    select c.relname || '.' || a.attname, 'nothing says by which model'
    from pg_attribute a join pg_class c on c.oid = a.attrelid
    where c.relnamespace = 'maia'::regnamespace and c.relkind = 'r' and a.atttypid = 'extensions.vector'::regtype
      and (a.atttypmod < 1 or not exists (
        select from pg_constraint k join pg_attribute m on m.attrelid = c.oid and m.attname = 'model'
        where k.conrelid = c.oid and k.contype = 'c' and m.attnum = any (k.conkey)))
    """,
    "comments": TABLES
    + """
    select name, 'nothing says what it is' from tables where obj_description(oid, 'pg_class') is null
    """,
}
"""Name to a query of what breaks it: the object and the fault."""


def findings(link: psycopg.Connection[Any]) -> Iterator[str]:
    """Everything that breaks a rule, one line each."""
    for rule in RULES:
        yield from (f"{rule}: {found}" for found in broken(link, rule))


def broken(link: psycopg.Connection[Any], rule: str) -> list[str]:
    return sorted(f"{name}: {fault}" for name, fault in link.execute(RULES[rule].encode()))


def present(link: psycopg.Connection[Any]) -> bool:
    """Whether the database has the schema at all."""
    found = link.execute("select to_regclass('maia.users') is not null").fetchone()
    return bool(found and found[0])
