-- What a project of Supabase has before its owner made anything: roles, schemas, the services' tables. Run by the
-- platform's superuser. Names and columns are those that clients and dumps meet; what they do is reduced to what a
-- migration meets.
create role anon nologin noinherit;
create role authenticated nologin noinherit;
create role service_role nologin noinherit bypassrls;
create role authenticator login noinherit;
create role supabase_auth_admin login noinherit createrole;
create role supabase_storage_admin login noinherit createrole;
create role supabase_realtime_admin nologin noinherit;
create role dashboard_user nologin createdb createrole replication;
create role pgsodium_keyholder nologin;
grant anon, authenticated, service_role to authenticator;
grant anon, authenticated, service_role, supabase_realtime_admin to postgres with admin option;
grant create on database :database to postgres, supabase_auth_admin, supabase_storage_admin;

create schema extensions authorization postgres;
create schema auth authorization supabase_auth_admin;
create schema storage authorization supabase_storage_admin;
create schema realtime authorization supabase_realtime_admin;
create schema vault;
create schema cron;
create schema graphql;
create schema graphql_public;
create schema pgbouncer;
create schema supabase_functions;
create schema supabase_migrations;
create schema net;
alter schema public owner to postgres;
grant usage on schema public, extensions, auth, storage, realtime to anon, authenticated, service_role;
grant usage on schema auth, storage, realtime, vault, cron, supabase_migrations to postgres with grant option;
create extension pgcrypto schema extensions;
create extension "uuid-ossp" schema extensions;
create extension pg_stat_statements schema extensions;
create extension citext schema public;
create extension hstore schema extensions;

-- auth
set role supabase_auth_admin;
create type auth.aal_level as enum ('aal1', 'aal2', 'aal3');
create table auth.users (
  instance_id uuid, id uuid primary key, aud varchar(255), role varchar(255), email varchar(255),
  encrypted_password varchar(255), email_confirmed_at timestamptz, raw_app_meta_data jsonb, raw_user_meta_data jsonb,
  is_super_admin boolean, created_at timestamptz, updated_at timestamptz, phone text default null::varchar unique,
  phone_confirmed_at timestamptz, email_change varchar(255),
  confirmed_at timestamptz generated always as (least(email_confirmed_at, phone_confirmed_at)) stored,
  is_sso_user boolean not null default false, is_anonymous boolean not null default false, deleted_at timestamptz);
create unique index users_email_partial_key on auth.users (email) where is_sso_user = false;
create index users_instance_id_email_idx on auth.users (instance_id, lower(email::text));
create table auth.identities (
  provider_id text not null, user_id uuid not null references auth.users on delete cascade, identity_data jsonb not null,
  provider text not null, last_sign_in_at timestamptz, created_at timestamptz, updated_at timestamptz,
  email text generated always as (lower(identity_data ->> 'email')) stored, id uuid primary key default gen_random_uuid(),
  unique (provider_id, provider));
create table auth.sessions (
  id uuid primary key, user_id uuid not null references auth.users on delete cascade, created_at timestamptz,
  aal auth.aal_level, not_after timestamptz, user_agent text, ip inet);
create table auth.refresh_tokens (
  instance_id uuid, id bigserial primary key, token varchar(255) unique, user_id varchar(255), revoked boolean,
  created_at timestamptz, session_id uuid references auth.sessions on delete cascade);
create table auth.schema_migrations (version varchar(255) primary key);
create function auth.uid() returns uuid language sql stable as
  $$ select nullif(current_setting('request.jwt.claim.sub', true), '')::uuid $$;
create function auth.role() returns text language sql stable as
  $$ select nullif(current_setting('request.jwt.claim.role', true), '')::text $$;
create function auth.email() returns text language sql stable as
  $$ select nullif(current_setting('request.jwt.claim.email', true), '')::text $$;
create function auth.jwt() returns jsonb language sql stable as
  $$ select nullif(current_setting('request.jwt.claims', true), '')::jsonb $$;
alter table auth.users enable row level security;
alter table auth.identities enable row level security;
grant select, insert, update, delete, references, trigger on all tables in schema auth to postgres, dashboard_user;
grant select, usage on all sequences in schema auth to postgres;

-- storage
set role supabase_storage_admin;
create table storage.buckets (
  id text primary key, name text not null unique, owner uuid, created_at timestamptz default now(),
  public boolean default false, file_size_limit bigint, allowed_mime_types text[]);
create table storage.objects (
  id uuid primary key default gen_random_uuid(), bucket_id text references storage.buckets, name text, owner uuid,
  created_at timestamptz default now(), metadata jsonb, version text,
  path_tokens text[] generated always as (string_to_array(name, '/')) stored);
create unique index bucketid_objname on storage.objects (bucket_id, name);
create index name_prefix_search on storage.objects (name text_pattern_ops);
create function storage.foldername(name text) returns text[] language plpgsql as
  $$ begin return (string_to_array(name, '/'))[1:array_length(string_to_array(name, '/'), 1) - 1]; end $$;
alter table storage.buckets enable row level security;
alter table storage.objects enable row level security;
grant all on all tables in schema storage to postgres, anon, authenticated, service_role;
reset role;
alter table storage.objects owner to supabase_storage_admin;

-- What the platform keeps for itself.
create table realtime.messages (topic text, payload jsonb, inserted_at timestamp) partition by range (inserted_at);
create table realtime.messages_2026_11_20 partition of realtime.messages
  for values from ('2026-11-20') to ('2026-11-21');
create table realtime.subscription (id bigint generated always as identity, entity regclass not null, claims jsonb);
create table vault.secrets (id uuid primary key default gen_random_uuid(), name text, secret text, nonce bytea);
insert into vault.secrets (name, secret) values ('smtp', 'c2VhbGVk'), ('hook', 'c2VhbGVk');
grant select on vault.secrets to postgres;
create table cron.job (jobid bigserial, schedule text, command text, jobname text, active boolean);
insert into cron.job (schedule, command, jobname, active) values ('0 3 * * *', 'select 1', 'nightly', true);
grant select on cron.job to postgres;
create table supabase_migrations.schema_migrations (version text primary key, statements text[], name text);
grant select on supabase_migrations.schema_migrations to postgres;
create function net.http_post(url text, body jsonb) returns bigint language sql as 'select 1::bigint';
create function supabase_functions.http_request() returns trigger language plpgsql as 'begin return new; end';
grant usage on schema net, supabase_functions to postgres, anon, authenticated, service_role;
create function extensions.pgrst_ddl_watch() returns event_trigger language plpgsql as
  $$ begin notify pgrst, 'reload schema'; end $$;
create event trigger pgrst_ddl_watch on ddl_command_end execute function extensions.pgrst_ddl_watch();
create publication supabase_realtime;
alter publication supabase_realtime owner to postgres;

alter database :database set "app.settings.jwt_secret" = 'of the source alone';
alter database :database set "app.settings.jwt_exp" = '3600';
alter database :database set search_path = "$user", public, extensions;
alter database :database set statement_timeout = '2min';
alter role authenticator set statement_timeout = '8s';
