-- What the schema is, a line for each thing in it.
with spaces as (select oid, nspname from pg_namespace where nspname in ('maia', 'auth'))
select 'table ' || s.nspname || '.' || c.relname || ' of ' || pg_get_userbyid(c.relowner)
    || case when c.relrowsecurity then ' secured' else '' end || case when c.relforcerowsecurity then ' forced' else '' end
    || coalesce(' ' || (select string_agg(a::text, ' ' order by a::text) from unnest(c.relacl) a), '')
from pg_class c join spaces s on s.oid = c.relnamespace where c.relkind in ('r', 'p')
union all
select 'column ' || s.nspname || '.' || c.relname || '.' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
    || case when a.attnotnull then ' not null' else '' end || case a.attgenerated when 's' then ' derived' else '' end
    || coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), '')
    || coalesce(' ' || (select string_agg(g::text, ' ' order by g::text) from unnest(a.attacl) g), '')
from pg_attribute a join pg_class c on c.oid = a.attrelid join spaces s on s.oid = c.relnamespace
left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
where c.relkind in ('r', 'p') and a.attnum > 0 and not a.attisdropped
union all
select 'constraint ' || s.nspname || '.' || coalesce(r.relname, t.typname) || '.' || c.conname || ' ' || pg_get_constraintdef(c.oid)
from pg_constraint c join spaces s on s.oid = c.connamespace
left join pg_class r on r.oid = c.conrelid left join pg_type t on t.oid = c.contypid
union all
select 'index ' || pg_get_indexdef(i.indexrelid) from pg_index i join pg_class c on c.oid = i.indrelid
join spaces s on s.oid = c.relnamespace
union all
select 'policy ' || schemaname || '.' || tablename || '.' || policyname || ' ' || permissive || ' ' || cmd || ' ' || roles::text
    || coalesce(' using ' || qual, '') || coalesce(' check ' || with_check, '') from pg_policies where schemaname in ('maia', 'auth')
union all
select 'trigger ' || pg_get_triggerdef(t.oid) || ' ' || t.tgenabled::text from pg_trigger t join pg_class c on c.oid = t.tgrelid
join spaces s on s.oid = c.relnamespace where not t.tgisinternal
union all
select 'function ' || p.oid::regprocedure || ' ' || md5(pg_get_functiondef(p.oid))
    || coalesce(' ' || (select string_agg(a::text, ' ' order by a::text) from unnest(p.proacl) a), '')
from pg_proc p join spaces s on s.oid = p.pronamespace
union all
select 'view ' || s.nspname || '.' || c.relname || ' ' || pg_get_viewdef(c.oid) from pg_class c
join spaces s on s.oid = c.relnamespace where c.relkind = 'v'
