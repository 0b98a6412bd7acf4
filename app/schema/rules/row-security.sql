-- Row security is enabled and forced on every table.
with tables as (
    select c.oid, c.relname as name, c.relowner, c.relrowsecurity, c.relforcerowsecurity from pg_class c
    where c.relnamespace = 'maia'::regnamespace and c.relkind in ('r', 'p')
)
select name, 'row security is not enabled and forced' from tables where not (relrowsecurity and relforcerowsecurity)
