-- Every table says what it is.
with tables as (
    select c.oid, c.relname as name, c.relowner, c.relrowsecurity, c.relforcerowsecurity from pg_class c
    where c.relnamespace = 'maia'::regnamespace and c.relkind in ('r', 'p')
)
select name, 'nothing says what it is' from tables where obj_description(oid, 'pg_class') is null
