-- Functions look names up where they were written to, not where their caller says.
select p.oid::regprocedure::text, 'looks names up where its caller says'
from pg_proc p where p.pronamespace in ('maia'::regnamespace, 'auth'::regnamespace)
  and not exists (select from unnest(p.proconfig) as setting where setting like 'search_path=%')
