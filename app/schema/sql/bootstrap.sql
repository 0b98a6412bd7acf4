-- What only a superuser can make, and what the versions stand on. Run before every migration; changes nothing twice.

do $$
declare
    wanted record;
begin
    for wanted in select * from (values
        ('maia_owner', 'nologin noinherit', 'owns the schema maia; nobody logs in as it'),
        ('maia_auditor', 'nologin noinherit', 'what it is granted, pgaudit logs; nobody is it'),
        ('maia_auth', 'nologin noinherit', 'keeps accounts and sessions, in tables that it does not own'),
        ('anon', 'nologin noinherit', 'requests without a token'),
        ('authenticated', 'nologin noinherit', 'requests of somebody who signed in'),
        ('service_role', 'nologin noinherit bypassrls', 'requests with the service key; what it writes is logged')
    ) as roles (name, options, about)
    loop
        if not exists (select from pg_roles where rolname = wanted.name) then
            execute format('create role %I %s', wanted.name, wanted.options);
        end if;
        execute format('comment on role %I is %L', wanted.name, wanted.about);
    end loop;
    execute format('alter database %I owner to maia_owner', current_database());
    execute format('revoke all on database %I from public', current_database());
    execute format('grant connect on database %I to anon, authenticated, service_role', current_database());
    -- Statements on what the auditor is granted are logged by name of the table, never by their text: it may hold
    -- what is nobody's business.
    execute format('alter database %I set pgaudit.role = %L', current_database(), 'maia_auditor');
    execute format('alter database %I set pgaudit.log_statement = off', current_database());
    -- Without it a search under row security stops early, and gives too few.
    execute format('alter database %I set hnsw.iterative_scan = strict_order', current_database());
    -- Where clients of Supabase look for functions and types.
    execute format('alter database %I set search_path = "$user", public, extensions', current_database());
end
$$;

create schema if not exists extensions;
create extension if not exists vector schema extensions;
create extension if not exists pg_trgm schema extensions;
create extension if not exists btree_gist schema extensions;
create extension if not exists pgcrypto schema extensions;
create extension if not exists "uuid-ossp" schema extensions;
create extension if not exists pgaudit schema extensions;
grant usage on schema extensions to maia_owner, anon, authenticated, service_role;
grant create on schema extensions to maia_owner;

create schema if not exists maia authorization maia_owner;
create schema if not exists auth authorization maia_owner;
create schema if not exists maia_meta authorization maia_owner;
revoke create on schema public from public;
comment on schema maia is 'The data of MAIA.';
comment on schema auth is 'Who asks: functions with Supabase''s names.';
comment on schema maia_meta is 'Which versions of the schema were applied, and from which files.';

set role maia_owner;
create table if not exists maia_meta.applied_files (
    version text not null,
    file text not null,
    sha256 text not null check (sha256 ~ '^[0-9a-f]{64}$'),
    applied_at timestamptz not null default now(),
    primary key (version, file)
);
comment on table maia_meta.applied_files is 'Each file of a version as it was when it was applied; a changed one is refused.';
create table if not exists maia_meta.applied_parts (
    part text primary key,
    sha256 text not null check (sha256 ~ '^[0-9a-f]{64}$'),
    applied_at timestamptz not null default now()
);
comment on table maia_meta.applied_parts is 'The tables of each part that is not in every stack: its file as it was when it was last run.';
reset role;
