-- People, their sessions, buckets and files.
insert into auth.users (instance_id, id, aud, role, email, encrypted_password, email_confirmed_at, raw_app_meta_data,
    raw_user_meta_data, created_at, updated_at, is_anonymous)
  select '00000000-0000-0000-0000-000000000000', md5('user' || n)::uuid, 'authenticated', 'authenticated',
    case when n % 50 = 0 then null else 'person' || n || '@example.org' end, '$2a$10$' || repeat('x', 53),
    '2026-01-01'::timestamptz + n * interval '1 hour 1 microsecond', '{"provider": "email"}',
    jsonb_build_object('name', 'Pérsön ' || n), '2026-01-01', '2026-02-01', n % 50 = 0
  from generate_series(1, 400) n;
insert into auth.identities (provider_id, user_id, identity_data, provider, created_at)
  select id::text, id, jsonb_build_object('sub', id, 'email', email), 'email', created_at from auth.users;
insert into auth.sessions (id, user_id, created_at, aal, ip, user_agent)
  select md5('session' || id)::uuid, id, created_at, 'aal1', '192.0.2.7', 'browser' from auth.users;
insert into auth.refresh_tokens (token, user_id, revoked, created_at, session_id)
  select md5(id::text), id::text, false, created_at, md5('session' || id)::uuid from auth.users;
insert into auth.schema_migrations values ('20240101000000'), ('20250101000000');
insert into storage.buckets (id, name, public, allowed_mime_types)
  values ('user-files', 'user-files', false, null), ('documents', 'documents', true, '{image/png,application/pdf}');
insert into storage.objects (bucket_id, name, owner, metadata)
  select case when n % 3 = 0 then 'documents' else 'user-files' end, 'folder/' || n || '/дом 🏠.png',
    md5('user' || n)::uuid, jsonb_build_object('size', n * 1000, 'mimetype', 'image/png')
  from generate_series(1, 300) n;
