-- What holds rows, with what it takes to copy and to compare it.
select c.oid, n.nspname::text, c.relname::text, c.relkind::text, c.relpersistence::text,
  greatest(c.reltuples, 0)::bigint,
  coalesce(pg_relation_size(c.oid), 0), coalesce(pg_table_size(c.oid), 0), coalesce(pg_indexes_size(c.oid), 0),
  (pg_relation_size(c.oid) / current_setting('block_size')::int)::bigint,
  case when c.relkind = 'f' then true else has_table_privilege(c.oid, 'select') and has_schema_privilege(n.oid, 'usage') end,
  row_security_active(c.oid), c.relrowsecurity,
  coalesce((select array_agg(a.attname::text order by k.n)
    from pg_index i, unnest(i.indkey::int2[]) with ordinality k (attnum, n)
    join pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum
    where i.indrelid = c.oid and i.indisprimary), '{}'),
  coalesce((select json_agg(json_build_array(a.attname, a.atttypid::bigint, a.attgenerated <> '') order by a.attnum)
    from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped), '[]')
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'f', 'm') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
  and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
order by 2, 3
