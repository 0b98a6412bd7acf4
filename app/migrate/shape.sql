-- Every definition as Postgres writes it down itself, under the name that pg_dump gives the object.
select 'column', n.nspname::text, n.nspname || '.' || c.relname, c.relname || '.' || a.attname,
  concat_ws(' ', format_type(a.atttypid, a.atttypmod), case when a.attnotnull then 'not null' end,
    pg_get_expr(d.adbin, d.adrelid), nullif(a.attgenerated, ''),
    case when not c.relispartition then nullif(a.attidentity, '') end, -- since 17 a partition has its parent's
    (select collname from pg_collation l join pg_type t on t.oid = a.atttypid
     where l.oid = a.attcollation and l.oid <> t.typcollation))
from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
where a.attnum > 0 and not a.attisdropped and c.relkind in ('r', 'p') and n.nspname = any(%(schemas)s)
union all
select 'constraint', n.nspname, n.nspname || '.' || coalesce(c.relname || ' ', '') || k.conname, k.conname,
  pg_get_constraintdef(k.oid)
from pg_constraint k join pg_namespace n on n.oid = k.connamespace left join pg_class c on c.oid = k.conrelid
where k.contype in ('p', 'u', 'f', 'c', 'x') and n.nspname = any(%(schemas)s)
union all
select 'index', n.nspname, n.nspname || '.' || c.relname, i.indrelid::regclass::text, pg_get_indexdef(c.oid)
from pg_index i join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace
where n.nspname = any(%(schemas)s)
  and not exists (select from pg_constraint k where k.conindid = c.oid and k.contype in ('p', 'u', 'x'))
union all
select 'policy', schemaname, schemaname || '.' || tablename || ' ' || policyname, policyname,
  concat_ws(' ', permissive, cmd, roles::text, qual, '/', with_check)
from pg_policies where schemaname = any(%(schemas)s)
union all
select 'row security', n.nspname, n.nspname || '.' || c.relname, c.relname, concat_ws(' ', relrowsecurity, relforcerowsecurity)
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and n.nspname = any(%(schemas)s)
union all
select 'trigger', n.nspname, n.nspname || '.' || c.relname || ' ' || t.tgname, t.tgname,
  concat_ws(' ', t.tgenabled, pg_get_triggerdef(t.oid))
from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_namespace n on n.oid = c.relnamespace
where not t.tgisinternal and n.nspname = any(%(schemas)s)
union all
select 'function', n.nspname, n.nspname || '.' || p.proname || '(' || oidvectortypes(p.proargtypes) || ')', p.proname,
  pg_get_functiondef(p.oid)
from pg_proc p join pg_namespace n on n.oid = p.pronamespace
where p.prokind in ('f', 'p') and n.nspname = any(%(schemas)s) and not exists (
  select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype in ('e', 'i'))
union all
select 'view', n.nspname, n.nspname || '.' || c.relname, c.relname, concat_ws(' ', c.relispopulated, pg_get_viewdef(c.oid))
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('v', 'm') and n.nspname = any(%(schemas)s) and not exists (
  select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
union all
select 'sequence', schemaname, schemaname || '.' || sequencename, sequencename,
  concat_ws(' ', data_type::text, start_value, min_value, max_value, increment_by, cycle, cache_size, 'at', last_value)
from pg_sequences where schemaname = any(%(schemas)s)
union all
select 'type', n.nspname, n.nspname || '.' || t.typname, t.typname, coalesce(
  (select string_agg(quote_literal(e.enumlabel), ', ' order by e.enumsortorder) from pg_enum e where e.enumtypid = t.oid),
  format_type(t.typbasetype, t.typtypmod))
from pg_type t join pg_namespace n on n.oid = t.typnamespace
where t.typtype in ('e', 'd') and n.nspname = any(%(schemas)s) and not exists (
  select from pg_depend d where d.classid = 'pg_type'::regclass and d.objid = t.oid and d.deptype = 'e')
