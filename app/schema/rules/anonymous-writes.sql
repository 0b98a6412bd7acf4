-- Without a token nothing is written.
select table_name, 'anon may ' || lower(privilege_type) from information_schema.role_table_grants
where table_schema = 'maia' and grantee in ('anon', 'PUBLIC') and privilege_type <> 'SELECT'
