-- Policies ask once a query who it is, not for each row.
select c.relname, p.polname || ' asks who it is for each row'
from pg_policy p join pg_class c on c.oid = p.polrelid,
    lateral (select concat(pg_get_expr(p.polqual, p.polrelid), ' ', pg_get_expr(p.polwithcheck, p.polrelid))) as e (text)
where c.relnamespace = 'maia'::regnamespace
  and regexp_replace(e.text, $x$SELECT (auth\.\w+\(\)|maia\.(has_role\('\w+'::text\)|may_post\(\)|my_(hosted_)?groups\(\)))$x$, '', 'g')
      ~ '(auth\.\w+|has_role|may_post|my_groups|my_hosted_groups)\('
