-- A policy says of each verb who may, or that nobody may.
with tables as (
    select c.oid, c.relname as name, c.relowner, c.relrowsecurity, c.relforcerowsecurity from pg_class c
    where c.relnamespace = 'maia'::regnamespace and c.relkind in ('r', 'p')
)
select name, 'no policy says who may ' || verb
from tables cross join (values ('select', 'r'), ('insert', 'a'), ('update', 'w'), ('delete', 'd')) as verbs (verb, command)
where not exists (select from pg_policy p where p.polrelid = tables.oid and p.polcmd in (verbs.command::"char", '*')
                  and 'authenticated'::regrole = any (p.polroles))
