"""Whether two databases hold the same, looked at by other means than the migration's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg

OWN = "not in ('maia', 'maia_meta', 'maia_migrate', 'information_schema')"
LOOK = {
    "columns": f"""select table_schema, table_name, column_name, ordinality, data_type, udt_name, is_nullable,
        column_default, is_generated, generation_expression, is_identity, identity_generation, character_maximum_length
      from (select *, row_number() over (partition by table_schema, table_name order by ordinal_position) ordinality
        from information_schema.columns) c where table_schema {OWN} and table_schema !~ '^pg_'""",
    "constraints": f"""select n.nspname, conrelid::regclass::text, conname, pg_get_constraintdef(k.oid), convalidated
      from pg_constraint k join pg_namespace n on n.oid = connamespace where n.nspname {OWN}""",
    "indexes": f"select schemaname, tablename, indexname, indexdef from pg_indexes where schemaname {OWN}",
    "policies": f"""select schemaname, tablename, policyname, permissive, roles, cmd, qual, with_check from pg_policies
      where schemaname {OWN}""",
    "security": f"""select c.oid::regclass::text, relrowsecurity, relforcerowsecurity, relpersistence, relkind
      from pg_class c join pg_namespace n on n.oid = relnamespace where relkind in ('r', 'p') and n.nspname {OWN}""",
    "triggers": f"""select pg_get_triggerdef(t.oid), tgenabled from pg_trigger t join pg_class c on c.oid = tgrelid
      join pg_namespace n on n.oid = relnamespace where not tgisinternal and n.nspname {OWN}""",
    "functions": f"""select n.nspname, pg_get_functiondef(p.oid)
      from pg_proc p join pg_namespace n on n.oid = pronamespace
      where prokind <> 'a' and n.nspname {OWN} and n.nspname !~ '^pg_' and not exists (
        select from pg_depend d where d.objid = p.oid and d.deptype in ('e', 'i'))""",
    "views": f"select schemaname, viewname, definition from pg_views where schemaname {OWN} and schemaname !~ '^pg_'",
    "matviews": f"select schemaname, matviewname, ispopulated, definition from pg_matviews where schemaname {OWN}",
    "sequences": f"""select schemaname, sequencename, data_type, start_value, min_value, max_value, increment_by, cycle,
        cache_size, last_value from pg_sequences where schemaname {OWN}""",
    "enums": "select t.typname, e.enumlabel, e.enumsortorder from pg_enum e join pg_type t on t.oid = enumtypid",
    "comments": f"""select pg_describe_object(classoid, objoid, objsubid), description from pg_description d
      join pg_class c on c.oid = objoid and classoid = 'pg_class'::regclass
      join pg_namespace n on n.oid = relnamespace where n.nspname {OWN} and n.nspname !~ '^pg_'""",
    "grants": f"""select table_schema, table_name, grantee, privilege_type, is_grantable
      from information_schema.table_privileges
      where grantee in ('anon', 'authenticated', 'service_role', 'reporting_team')
      and table_schema {OWN} and table_schema !~ '^pg_'""",
    "partitions": f"""select c.oid::regclass::text, pg_get_expr(relpartbound, c.oid), pg_get_partkeydef(c.oid)
      from pg_class c join pg_namespace n on n.oid = relnamespace where (relispartition or relkind = 'p')
      and relkind in ('r', 'p') and n.nspname {OWN}""",
}  # fmt: skip
ROWS = f"""select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = relnamespace
  where relkind = 'r' and n.nspname {OWN} and n.nspname !~ '^pg_' order by 1"""
SESSION = """
set search_path = pg_catalog; set timezone = 'Asia/Kathmandu'; set extra_float_digits = 3; set lc_monetary = 'C'
"""
ONE = """
select count(*) || ' ' || coalesce(md5(string_agg(md5(t::text), '' order by md5(t::text))), '') from only {} t
"""


def shape(link: psycopg.Connection[Any]) -> dict[str, set[str]]:
    """Every definition, by kind."""
    link.execute(SESSION)
    return {kind: {repr(row) for row in link.execute(query.encode())} for kind, query in LOOK.items()}


def rows(link: psycopg.Connection[Any], chosen: Callable[[str], bool] = lambda _: True) -> dict[str, str]:
    """Every table's rows as one hash over their sorted text."""
    link.execute(SESSION)
    tables = [name for (name,) in link.execute(ROWS.encode()) if chosen(name)]
    found = {}
    for name in tables:
        found[name] = str((link.execute(ONE.format(name).encode()).fetchone() or ("",))[0])
    return found
