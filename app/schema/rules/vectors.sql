-- A column of vectors has a size and a model.
select c.relname || '.' || a.attname, 'nothing says by which model'
from pg_attribute a join pg_class c on c.oid = a.attrelid
where c.relnamespace = 'maia'::regnamespace and c.relkind = 'r' and a.atttypid = 'extensions.vector'::regtype
  and (a.atttypmod < 1 or not exists (
    select from pg_constraint k join pg_attribute m on m.attrelid = c.oid and m.attname = 'model'
    where k.conrelid = c.oid and k.contype = 'c' and m.attnum = any (k.conkey)))
