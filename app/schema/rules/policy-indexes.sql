-- An index begins with the column by which a policy filters.
select distinct c.relname, 'no index begins with ' || found[1] || ', by which a policy filters'
from pg_policy p join pg_class c on c.oid = p.polrelid,
    regexp_matches(pg_get_expr(p.polqual, p.polrelid), $x$(?<![.\w])(\w+) = \( SELECT auth\.uid\(\) AS uid\)$x$, 'g') as found
where c.relnamespace = 'maia'::regnamespace and p.polcmd <> 'a'
  and exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = found[1])
  and not exists (
    select from pg_index i join pg_attribute a on a.attrelid = c.oid and a.attnum = i.indkey[0]
    where i.indrelid = c.oid and a.attname = found[1] and i.indpred is null)
