-- Who asks. The gateway of the database puts the verified token's claims into the setting request.jwt.claims for one
-- transaction; older gateways put each claim into a setting of its own.

create function auth.jwt() returns jsonb language sql stable parallel safe set search_path = '' as $$
    select coalesce(nullif(current_setting('request.jwt.claims', true), ''),
                    nullif(current_setting('request.jwt.claim', true), ''), '{}')::jsonb
$$;
comment on function auth.jwt is 'The claims of the token that came with the request; empty without one.';

create function auth.uid() returns uuid language sql stable parallel safe set search_path = '' as $$
    select coalesce(nullif(current_setting('request.jwt.claim.sub', true), ''), nullif(auth.jwt() ->> 'sub', ''))::uuid
$$;
comment on function auth.uid is 'The user whose token it is. In policies: (select auth.uid()), so that it is asked once a query.';

create function auth.role() returns text language sql stable parallel safe set search_path = '' as $$
    select coalesce(nullif(current_setting('request.jwt.claim.role', true), ''), nullif(auth.jwt() ->> 'role', ''))
$$;
comment on function auth.role is 'The role that the token names.';

create function auth.email() returns text language sql stable parallel safe set search_path = '' as $$
    select coalesce(nullif(current_setting('request.jwt.claim.email', true), ''), nullif(auth.jwt() ->> 'email', ''))
$$;
comment on function auth.email is 'The address that the token names.';

create function extensions.current_user_id() returns uuid language sql stable parallel safe set search_path = '' as $$
    select coalesce(auth.uid(), nullif(current_setting('app.current_user_id', true), '')::uuid)
$$;
comment on function extensions.current_user_id is
    'The same, for policies in the application''s own dialect: a token comes first, then its setting app.current_user_id.';

grant usage on schema auth to anon, authenticated, service_role;
