-- Tables of the auth service, with Supabase's names and columns and some more. Run as maia_owner; changes nothing twice,
-- and adds what is missing to tables that a move from Supabase brought along.
--
-- What lets somebody in is never here in the clear: passwords are slow hashes, tokens and codes are digests, secrets of
-- second factors and waiting mails are sealed with a key that the database does not have.

set client_min_messages = warning;

do $$
declare
    wanted record;
begin
    for wanted in select * from (values
        ('aal_level', '''aal1'', ''aal2'', ''aal3'''),
        ('code_challenge_method', '''s256'', ''plain'''),
        ('factor_type', '''totp'', ''webauthn'', ''phone'', ''recovery_code'''),
        ('factor_status', '''unverified'', ''verified'''),
        ('one_time_token_type', '''confirmation_token'', ''reauthentication_token'', ''recovery_token'', '
                                '''email_change_token_new'', ''email_change_token_current'', ''phone_change_token''')
    ) as types (name, labels)
    loop
        if to_regtype('auth.' || wanted.name) is null then
            execute format('create type auth.%I as enum (%s)', wanted.name, wanted.labels);
        end if;
    end loop;
end
$$;
alter type auth.factor_type add value if not exists 'recovery_code';

create table if not exists auth.users (id uuid primary key default gen_random_uuid());
alter table auth.users
    add column if not exists instance_id uuid,
    add column if not exists aud varchar(255),
    add column if not exists role varchar(255),
    add column if not exists email varchar(255),
    add column if not exists encrypted_password varchar(255),
    add column if not exists email_confirmed_at timestamptz,
    add column if not exists invited_at timestamptz,
    add column if not exists confirmation_token varchar(255),
    add column if not exists confirmation_sent_at timestamptz,
    add column if not exists recovery_token varchar(255),
    add column if not exists recovery_sent_at timestamptz,
    add column if not exists email_change_token_new varchar(255),
    add column if not exists email_change varchar(255),
    add column if not exists email_change_sent_at timestamptz,
    add column if not exists last_sign_in_at timestamptz,
    add column if not exists raw_app_meta_data jsonb,
    add column if not exists raw_user_meta_data jsonb,
    add column if not exists is_super_admin boolean,
    add column if not exists created_at timestamptz,
    add column if not exists updated_at timestamptz,
    add column if not exists phone text default null,
    add column if not exists phone_confirmed_at timestamptz,
    add column if not exists phone_change text default '',
    add column if not exists phone_change_token varchar(255) default '',
    add column if not exists phone_change_sent_at timestamptz,
    add column if not exists confirmed_at timestamptz
        generated always as (least(email_confirmed_at, phone_confirmed_at)) stored,
    add column if not exists email_change_token_current varchar(255) default '',
    add column if not exists email_change_confirm_status smallint default 0
        check (email_change_confirm_status between 0 and 2),
    add column if not exists banned_until timestamptz,
    add column if not exists reauthentication_token varchar(255) default '',
    add column if not exists reauthentication_sent_at timestamptz,
    add column if not exists is_sso_user boolean not null default false,
    add column if not exists deleted_at timestamptz,
    add column if not exists is_anonymous boolean not null default false;
create unique index if not exists users_email_partial_key on auth.users (email) where is_sso_user = false;
create unique index if not exists users_phone_key on auth.users (phone);
create index if not exists users_created_at_idx on auth.users (created_at, id);
comment on table auth.users is 'Who may sign in. Columns that end in _token are Supabase''s and stay empty.';
comment on column auth.users.email is 'In small letters.';
comment on column auth.users.encrypted_password is 'bcrypt; a hash of argon2 that was brought along is replaced at the next sign-in.';

create table if not exists auth.identities (id uuid primary key default gen_random_uuid());
alter table auth.identities
    add column if not exists provider_id text not null,
    add column if not exists user_id uuid not null references auth.users on delete cascade,
    add column if not exists identity_data jsonb not null,
    add column if not exists provider text not null,
    add column if not exists last_sign_in_at timestamptz,
    add column if not exists created_at timestamptz,
    add column if not exists updated_at timestamptz,
    add column if not exists email text generated always as (lower(identity_data ->> 'email')) stored;
create unique index if not exists identities_provider_id_provider_unique on auth.identities (provider_id, provider);
create index if not exists identities_user_id_idx on auth.identities (user_id);
comment on table auth.identities is 'By what somebody is known: an address here, or an account at a provider.';

create table if not exists auth.sessions (id uuid primary key default gen_random_uuid());
alter table auth.sessions
    add column if not exists user_id uuid not null references auth.users on delete cascade,
    add column if not exists created_at timestamptz,
    add column if not exists updated_at timestamptz,
    add column if not exists factor_id uuid,
    add column if not exists aal auth.aal_level,
    add column if not exists not_after timestamptz,
    add column if not exists refreshed_at timestamp,
    add column if not exists user_agent text,
    add column if not exists ip inet,
    add column if not exists tag text;
create index if not exists sessions_user_id_idx on auth.sessions (user_id, created_at);
create index if not exists sessions_not_after_idx on auth.sessions (not_after desc);
comment on table auth.sessions is 'One sign-in on one device, until it is signed out or too old.';
comment on column auth.sessions.refreshed_at is 'In UTC; Supabase''s type.';

create table if not exists auth.refresh_tokens (id bigserial primary key);
alter table auth.refresh_tokens
    add column if not exists instance_id uuid,
    add column if not exists token varchar(255),
    add column if not exists user_id varchar(255),
    add column if not exists revoked boolean,
    add column if not exists created_at timestamptz,
    add column if not exists updated_at timestamptz,
    add column if not exists parent varchar(255),
    add column if not exists session_id uuid references auth.sessions on delete cascade;
create unique index if not exists refresh_tokens_token_unique on auth.refresh_tokens (token);
create index if not exists refresh_tokens_session_id_idx on auth.refresh_tokens (session_id);
comment on table auth.refresh_tokens is 'A session''s family: each token is good once and has one child.';
comment on column auth.refresh_tokens.token is 'SHA-256 of the token, in hexadecimal.';
comment on column auth.refresh_tokens.parent is 'The same of the one that it came from.';
comment on column auth.refresh_tokens.updated_at is 'When it was exchanged, once it is revoked.';

create table if not exists auth.one_time_tokens (id uuid primary key default gen_random_uuid());
alter table auth.one_time_tokens
    add column if not exists user_id uuid not null references auth.users on delete cascade,
    add column if not exists token_type auth.one_time_token_type not null,
    add column if not exists token_hash text not null,
    add column if not exists relates_to text not null,
    add column if not exists created_at timestamp not null default (now() at time zone 'UTC'),
    add column if not exists updated_at timestamp not null default (now() at time zone 'UTC'),
    add column if not exists code_hash text,
    add column if not exists attempts smallint not null default 0,
    add column if not exists expires_at timestamptz,
    add column if not exists flow_id uuid;
create unique index if not exists one_time_tokens_user_id_token_type_key on auth.one_time_tokens (user_id, token_type);
create index if not exists one_time_tokens_token_hash_idx on auth.one_time_tokens (token_hash);
comment on table auth.one_time_tokens is 'What a mail lets its reader do, once.';
comment on column auth.one_time_tokens.token_hash is 'SHA-256 of what the link carries.';
comment on column auth.one_time_tokens.relates_to is 'The address that it was sent to.';
comment on column auth.one_time_tokens.code_hash is 'Keyed digest of the code to type; the key is not in the database.';
comment on column auth.one_time_tokens.attempts is 'How often a wrong code was typed.';

create table if not exists auth.flow_state (id uuid primary key default gen_random_uuid());
alter table auth.flow_state
    add column if not exists user_id uuid references auth.users on delete cascade,
    add column if not exists auth_code text,
    add column if not exists code_challenge_method auth.code_challenge_method,
    add column if not exists code_challenge text,
    add column if not exists provider_type text,
    add column if not exists provider_access_token text,
    add column if not exists provider_refresh_token text,
    add column if not exists created_at timestamptz default now(),
    add column if not exists updated_at timestamptz default now(),
    add column if not exists authentication_method text,
    add column if not exists auth_code_issued_at timestamptz;
create index if not exists flow_state_auth_code_idx on auth.flow_state (auth_code);
create index if not exists flow_state_created_at_idx on auth.flow_state (created_at);
comment on table auth.flow_state is 'Sign-ins by PKCE under way (RFC 7636).';
comment on column auth.flow_state.auth_code is 'SHA-256 of the code, in hexadecimal, from the moment that it is handed out.';

create table if not exists auth.mfa_factors (id uuid primary key default gen_random_uuid());
alter table auth.mfa_factors
    add column if not exists user_id uuid not null references auth.users on delete cascade,
    add column if not exists friendly_name text,
    add column if not exists factor_type auth.factor_type not null,
    add column if not exists status auth.factor_status not null,
    add column if not exists created_at timestamptz not null default now(),
    add column if not exists updated_at timestamptz not null default now(),
    add column if not exists secret text,
    add column if not exists phone text,
    add column if not exists last_challenged_at timestamptz,
    add column if not exists web_authn_credential jsonb,
    add column if not exists web_authn_aaguid uuid,
    add column if not exists last_step bigint not null default 0;
create unique index if not exists mfa_factors_user_friendly_name_unique on auth.mfa_factors (friendly_name, user_id)
    where trim(friendly_name) <> '';
create index if not exists mfa_factors_user_id_idx on auth.mfa_factors (user_id);
comment on table auth.mfa_factors is 'Second factors.';
comment on column auth.mfa_factors.secret is 'Sealed with a key that is not in the database.';
comment on column auth.mfa_factors.last_step is 'The time step of the last code that was accepted: no code is good twice.';

create table if not exists auth.mfa_challenges (id uuid primary key default gen_random_uuid());
alter table auth.mfa_challenges
    add column if not exists factor_id uuid not null references auth.mfa_factors on delete cascade,
    add column if not exists created_at timestamptz not null default now(),
    add column if not exists verified_at timestamptz,
    add column if not exists ip_address inet not null,
    add column if not exists otp_code text,
    add column if not exists web_authn_session_data jsonb;
create index if not exists mfa_challenges_factor_id_idx on auth.mfa_challenges (factor_id);
create index if not exists mfa_challenges_created_at_idx on auth.mfa_challenges (created_at desc);
comment on table auth.mfa_challenges is 'Questions for a second factor.';

create table if not exists auth.mfa_amr_claims (id uuid primary key default gen_random_uuid());
alter table auth.mfa_amr_claims
    add column if not exists session_id uuid not null references auth.sessions on delete cascade,
    add column if not exists created_at timestamptz not null default now(),
    add column if not exists updated_at timestamptz not null default now(),
    add column if not exists authentication_method text not null;
create unique index if not exists mfa_amr_claims_session_id_authentication_method_pkey
    on auth.mfa_amr_claims (session_id, authentication_method);
comment on table auth.mfa_amr_claims is 'By which means a session was signed in.';

create table if not exists auth.recovery_codes (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null references auth.users on delete cascade,
    factor_id uuid not null references auth.mfa_factors on delete cascade,
    code_hash text not null,
    created_at timestamptz not null default now(),
    used_at timestamptz,
    unique (factor_id, code_hash)
);
create index if not exists recovery_codes_user_id_idx on auth.recovery_codes (user_id);
comment on table auth.recovery_codes is 'Codes for when the second factor is lost; each is good once.';
comment on column auth.recovery_codes.code_hash is 'Keyed digest; the key is not in the database.';

create table if not exists auth.outbox (
    id bigint generated always as identity primary key,
    user_id uuid references auth.users on delete cascade,
    kind text not null,
    sealed bytea not null,
    created_at timestamptz not null default now(),
    claimed_until timestamptz,
    attempts smallint not null default 0
);
create index if not exists outbox_user_id_idx on auth.outbox (user_id);
comment on table auth.outbox is 'Mails that wait to be sent, or to be read on the machine where no mail server is set.';
comment on column auth.outbox.sealed is 'Address, subject and text, sealed: they carry what lets somebody in.';

create table if not exists auth.audit_log_entries (id uuid primary key default gen_random_uuid());
alter table auth.audit_log_entries
    add column if not exists instance_id uuid,
    add column if not exists payload json,
    add column if not exists created_at timestamptz,
    add column if not exists ip_address varchar(64) not null default '';
comment on table auth.audit_log_entries is 'What was brought along from Supabase. Ours are in audit_events.';

-- Security events. Each entry's hash covers the one before it. Every user has a chain, so that one does not wait for
-- another; the chain of the nil identity tells of each chain that it began, so that none vanishes as a whole.

create table if not exists auth.audit_heads (
    chain uuid primary key,
    entries bigint not null default 0 check (entries >= 0),
    hash bytea not null default sha256('')
);
comment on table auth.audit_heads is 'The end of each chain: how long it is and its last hash.';

create table if not exists auth.audit_events (
    chain uuid not null,
    number bigint not null check (number > 0),
    at timestamptz not null,
    action text not null,
    outcome text not null check (outcome in ('done', 'refused')),
    actor uuid,
    address inet,
    detail jsonb not null default '{}',
    hash bytea not null,
    primary key (chain, number)
);
create index if not exists audit_events_at_idx on auth.audit_events (at);
comment on table auth.audit_events is 'Who did what, when, from where and how it ended. Nothing is changed or taken away, and no secret is in it.';
comment on column auth.audit_events.chain is 'Whom it is about; for an address without an account, a digest of it.';
comment on column auth.audit_events.actor is 'Who did it; empty where that is not known.';

create or replace function auth.audit_hash(previous bytea, entry auth.audit_events) returns bytea
language sql stable parallel safe set search_path = '' set timezone = 'UTC' as $$
    select sha256(previous || convert_to(jsonb_build_array(entry.chain, entry.number, entry.at, entry.action, entry.outcome,
        entry.actor, host(entry.address), entry.detail)::text, 'UTF8'))
$$;
comment on function auth.audit_hash is 'What an entry''s hash must be after the one given.';

create or replace function auth.audit(about uuid, action text, outcome text, actor uuid, address inet, detail jsonb)
returns void language plpgsql security definer set search_path = '' as $$
declare
    head auth.audit_heads;
    entry auth.audit_events;
begin
    insert into auth.audit_heads (chain) values (about) on conflict do nothing;
    if found and about <> '00000000-0000-0000-0000-000000000000' then
        perform auth.audit('00000000-0000-0000-0000-000000000000', 'chain_began', 'done', null, null,
                           jsonb_build_object('chain', about));
    end if;
    select * into strict head from auth.audit_heads h where h.chain = about for update;
    entry.chain := about;
    entry.number := head.entries + 1;
    entry.at := clock_timestamp();
    entry.action := action;
    entry.outcome := outcome;
    entry.actor := actor;
    entry.address := address;
    entry.detail := coalesce(detail, '{}');
    entry.hash := auth.audit_hash(head.hash, entry);
    insert into auth.audit_events values (entry.*);
    update auth.audit_heads h set entries = entry.number, hash = entry.hash where h.chain = about;
end
$$;
comment on function auth.audit is 'Adds a security event to the chain of whom it is about.';

create or replace function auth.broken_audit() returns table (chain uuid, number bigint, fault text)
language sql stable set search_path = '' as $$
    with linked as (
        select e as entry, e.chain, e.number, e.hash, lag(e.hash, 1, sha256('')) over chain as previous,
               lag(e.number, 1, 0::bigint) over chain as before
        from auth.audit_events e window chain as (partition by e.chain order by e.number)
    ), ends as (
        select distinct on (e.chain) e.chain, e.number, e.hash from auth.audit_events e order by e.chain, e.number desc
    )
    select l.chain, l.number, case when l.number <> l.before + 1 then 'entries before it are missing'
                                   else 'it was altered' end
    from linked l where l.number <> l.before + 1 or l.hash <> auth.audit_hash(l.previous, l.entry)
    union all
    select coalesce(h.chain, e.chain), coalesce(h.entries, e.number), 'the chain does not end as it should'
    from auth.audit_heads h full join ends e on e.chain = h.chain
    where h.chain is null or e.number is distinct from nullif(h.entries, 0) or (h.entries > 0 and e.hash <> h.hash)
    union all
    select (e.detail ->> 'chain')::uuid, 0, 'the chain is gone'
    from auth.audit_events e left join auth.audit_heads h on h.chain = (e.detail ->> 'chain')::uuid
    where e.chain = '00000000-0000-0000-0000-000000000000' and e.action = 'chain_began' and h.chain is null
    union all
    select h.chain, 0, 'nothing tells that the chain began'
    from auth.audit_heads h
    where h.chain <> '00000000-0000-0000-0000-000000000000' and not exists (
        select from auth.audit_events e where e.chain = '00000000-0000-0000-0000-000000000000'
        and e.action = 'chain_began' and e.detail ->> 'chain' = h.chain::text)
$$;
comment on function auth.broken_audit is 'Entries that were altered, dropped or cut off.';

create or replace function auth.audit_root() returns text language sql stable set search_path = '' as $$
    select encode(sha256(coalesce(string_agg(h.chain::text || h.entries || encode(h.hash, 'hex'), ',' order by h.chain), '')::bytea), 'hex')
    from auth.audit_heads h
$$;
comment on function auth.audit_root is 'One digest of all chains: kept elsewhere, it shows even what a superuser rewrote.';

create or replace function auth.refuse_change() returns trigger language plpgsql set search_path = '' as $$
begin
    raise exception 'security events are only ever added' using errcode = 'insufficient_privilege';
end
$$;
create or replace trigger append_only before update or delete or truncate on auth.audit_events
    for each statement execute function auth.refuse_change();
create or replace trigger append_only before delete or truncate on auth.audit_heads
    for each statement execute function auth.refuse_change();

-- Row security is on and forced; the service passes by its own policy, and nobody else does.
do $$
declare
    name text;
begin
    foreach name in array array['users', 'identities', 'sessions', 'refresh_tokens', 'one_time_tokens', 'flow_state',
        'mfa_factors', 'mfa_challenges', 'mfa_amr_claims', 'recovery_codes', 'outbox', 'audit_log_entries',
        'audit_heads', 'audit_events']
    loop
        execute format('alter table auth.%I enable row level security, force row level security', name);
        execute format('revoke all on auth.%I from public, anon, authenticated', name);
        if not exists (select from pg_policy where polrelid = format('auth.%I', name)::regclass and polname = 'maia_auth') then
            execute format('create policy maia_auth on auth.%I to maia_auth using (true) with check (true)', name);
        end if;
        if name in ('audit_heads', 'audit_events') then
            if not exists (select from pg_policy where polrelid = format('auth.%I', name)::regclass and polname = 'owner') then
                execute format('create policy owner on auth.%I to maia_owner using (true) with check (true)', name);
            end if;
            execute format('grant select on auth.%I to maia_auth', name);
        else
            execute format('grant select, insert, update, delete on auth.%I to maia_auth', name);
        end if;
    end loop;
    execute format('grant connect on database %I to maia_auth', current_database());
end
$$;
grant usage on schema auth to maia_auth;
grant usage on sequence auth.refresh_tokens_id_seq to maia_auth;
revoke execute on function auth.audit, auth.audit_hash, auth.broken_audit, auth.audit_root, auth.refuse_change from public;
grant execute on function auth.audit, auth.audit_hash, auth.broken_audit, auth.audit_root to maia_auth;
