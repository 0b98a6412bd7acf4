-- No login passes by row security or acts as the owner.
select r.rolname, case when r.rolbypassrls then 'a login that passes by row security' else 'a login that acts as the owner' end
from pg_roles r
where r.rolcanlogin and not r.rolsuper and (r.rolbypassrls or pg_has_role(r.oid, 'maia_owner', 'member'))
