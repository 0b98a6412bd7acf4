-- Nobody may do to a table what row security does not hold.
select table_name, grantee || ' may ' || lower(privilege_type) from information_schema.role_table_grants
where table_schema = 'maia' and grantee in ('anon', 'authenticated', 'service_role', 'PUBLIC')
  and privilege_type not in ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
