-- Everything belongs to a role that nobody logs in as.
select n.nspname || '.' || c.relname, 'belongs to ' || r.rolname
from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_roles r on r.oid = c.relowner
where n.nspname in ('maia', 'auth', 'maia_meta') and (r.rolcanlogin or r.rolname <> 'maia_owner')
