-- A row of one owner cannot point to a row of another.
select c.conrelid::regclass::text, c.conname || ' lets a row hang on somebody else''s'
from pg_constraint c
join pg_attribute link on link.attrelid = c.conrelid and link.attnum = c.conkey[1]
join pg_attribute mine on mine.attrelid = c.conrelid and mine.attname in ('user_id', 'practitioner_id') and mine.attnum > 0
join pg_attribute theirs on theirs.attrelid = c.confrelid and theirs.attname = mine.attname and theirs.attnum > 0
where c.contype = 'f' and c.connamespace = 'maia'::regnamespace and cardinality(c.conkey) = 1
  and link.attname <> mine.attname
  and exists (select from pg_policy p where p.polrelid = c.conrelid and p.polpermissive and (p.polcmd = 'a'
              or p.polcmd = 'w' and has_column_privilege('authenticated', c.conrelid, link.attnum, 'update'))
              and 'authenticated'::regrole = any (p.polroles)
              and pg_get_expr(p.polwithcheck, p.polrelid) not like '%' || link.attname || ' %')
