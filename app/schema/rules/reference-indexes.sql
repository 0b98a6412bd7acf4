-- Every foreign key has an index.
select c.conrelid::regclass::text, c.conname || ' has no index'
from pg_constraint c where c.contype = 'f' and c.connamespace = 'maia'::regnamespace and not exists (
    select from pg_index i where i.indrelid = c.conrelid and i.indpred is null and i.indkey[0] = any (c.conkey))
