-- No table with sealed columns has free text beside them.
select c.relname || '.' || a.attname, 'text beside a sealed column of the same table'
from pg_attribute a join pg_class c on c.oid = a.attrelid
where c.relnamespace = 'maia'::regnamespace and a.atttypid in ('maia.prose'::regtype, 'jsonb'::regtype, 'maia.fields'::regtype)
  and exists (select from pg_attribute s where s.attrelid = c.oid and s.atttypid = 'maia.sealed'::regtype)
