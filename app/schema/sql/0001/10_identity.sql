-- Who somebody is, what they agreed to, what they may use. No address and no password: those belong to the auth service.

create table users (
    id uuid primary key,
    handle slug not null,
    display_name label not null,
    pronouns label,
    locale text not null default 'en' check (locale ~ '^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$'),
    time_zone text not null default 'UTC' check (time_zone ~ '^[A-Za-z0-9_+/-]{1,64}$'),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
comment on table users is 'Everybody who has an account. Other tables hang on it and go with it.';
comment on column users.id is 'The subject of the token (auth.uid()), the same as in the auth service.';
comment on column users.handle is 'The name by which others find the person.';
comment on column users.locale is 'Language tag.';
comment on column users.time_zone is 'IANA name.';
create unique index on users (lower(handle));
select pg_temp.own('users', 'siu', 'id', '');

create table user_preferences (
    user_id uuid primary key references users on delete cascade,
    theme text not null default 'system' check (theme in ('system', 'light', 'dark')),
    reduced_motion boolean not null default false,
    notify_by_mail boolean not null default false,
    quiet_hours int4range check (quiet_hours <@ int4range(0, 1440)),
    detail fields not null default '{}',
    updated_at timestamptz not null default now()
);
comment on table user_preferences is 'How a person wants the appliance to behave.';
comment on column user_preferences.quiet_hours is 'Minutes of the local day without notifications.';
select pg_temp.own('user_preferences');

create table user_roles (
    user_id uuid not null references users on delete cascade,
    role text not null check (role in ('member', 'moderator', 'practitioner', 'supervisor', 'steward', 'administrator')),
    granted_by uuid references users on delete set null,
    granted_at timestamptz not null default now(),
    expires_at timestamptz check (expires_at > granted_at),
    primary key (user_id, role)
);
comment on table user_roles is 'What somebody is trusted with. Only the appliance writes it.';
comment on column user_roles.expires_at is 'When it ends by itself; empty: it does not.';
select pg_temp.own('user_roles', 's', at => '');
create policy owner_select on user_roles for select to maia_owner using (true);

create function has_role(wanted text) returns boolean
language sql stable security definer parallel safe set search_path = '' as $$
    select exists (select from maia.user_roles r where r.user_id = (select auth.uid()) and r.role = wanted
                   and (r.expires_at is null or r.expires_at > now()))
$$;
comment on function has_role is 'Whether the one who asks has the role now. In policies: (select has_role(…)).';

create table user_health_profile (
    user_id uuid primary key references users on delete cascade,
    content enveloped not null,
    key_id uuid generated always as (sealed_key(content)) stored,
    updated_at timestamptz not null default now()
);
comment on table user_health_profile is 'What a person tells of their health, so that the appliance is careful.';
comment on column user_health_profile.content is 'Conditions, medication and limits, as JSON, encrypted by the service.';
select pg_temp.own('user_health_profile');

create table user_contacts (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    purpose text not null check (purpose in ('emergency', 'recovery', 'appointment')),
    content enveloped not null,
    created_at timestamptz not null default now()
);
comment on table user_contacts is 'Whom to reach, and how, when it matters.';
comment on column user_contacts.content is 'Name and number or address, encrypted by the service.';
select pg_temp.own('user_contacts');

create table consent_purposes (
    code slug not null,
    version smallint not null check (version > 0),
    title label not null,
    wording prose not null,
    withdrawable boolean not null default true,
    published_at timestamptz not null default now(),
    primary key (code, version)
);
comment on table consent_purposes is 'What people are asked to agree to, in the very words they were shown.';
comment on column consent_purposes.withdrawable is 'False where what was agreed to cannot be undone, as a donation to research.';
select pg_temp.reference('consent_purposes', true);

create table user_consent_log (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    purpose slug not null,
    version smallint not null,
    given boolean not null,
    source text not null default 'person' check (source in ('person', 'practitioner', 'migration')),
    created_at timestamptz not null default clock_timestamp(),
    foreign key (purpose, version) references consent_purposes (code, version)
);
comment on table user_consent_log is 'Each time somebody agreed or withdrew. Only added to; the last line of a purpose holds.';
comment on column user_consent_log.given is 'True: agreed. False: withdrawn or refused.';
comment on column user_consent_log.source is 'Who told the appliance.';
create index on user_consent_log (user_id, purpose, created_at desc);
select pg_temp.own('user_consent_log', 'si');
select pg_temp.logged('user_consent_log');

create view user_consents with (security_invoker = true) as
select distinct on (user_id, purpose) user_id, purpose, version, given, created_at as since
from user_consent_log order by user_id, purpose, created_at desc, id desc;
comment on view user_consents is 'What each person agrees to now.';
grant select on user_consents to authenticated, service_role;

create table user_data_pause (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    scope text not null default 'everything' check (scope in ('everything', 'memory', 'analytics', 'research')),
    paused_at timestamptz not null default now(),
    resumed_at timestamptz check (resumed_at >= paused_at)
);
comment on table user_data_pause is 'When a person asked that nothing more be kept of them.';
create unique index on user_data_pause (user_id, scope) where resumed_at is null;
select pg_temp.own('user_data_pause', 'siu', at => 'paused_at');
select pg_temp.logged('user_data_pause');

create table data_requests (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    kind text not null check (kind in ('export', 'erasure', 'correction')),
    state text not null default 'asked' check (state in ('asked', 'working', 'done', 'refused')),
    reason prose,
    created_at timestamptz not null default now(),
    done_at timestamptz check (done_at >= created_at)
);
comment on table data_requests is 'What people ask of their own data: a copy, its end, a correction.';
comment on column data_requests.reason is 'Why it was refused, in words for the person.';
create policy own_select on data_requests for select to authenticated using (user_id = (select auth.uid()));
create policy own_insert on data_requests for insert to authenticated
    with check (user_id = (select auth.uid()) and state = 'asked' and done_at is null);
create index on data_requests (user_id, created_at desc);
create index on data_requests (created_at) where state in ('asked', 'working');
select pg_temp.logged('data_requests');

create table user_deletion_log (
    id uuid primary key default uuid7(),
    subject digest not null unique,
    asked_at timestamptz not null,
    deleted_at timestamptz not null default now(),
    rows_deleted bigint not null check (rows_deleted >= 0),
    check (deleted_at >= asked_at)
);
comment on table user_deletion_log is 'That somebody''s data was deleted, so that a restore from backup deletes it again.';
comment on column user_deletion_log.subject is 'SHA-256 of the user''s identity: the identity itself is gone.';

create table user_blocks (
    user_id uuid not null references users on delete cascade,
    blocked_id uuid not null references users on delete cascade,
    created_at timestamptz not null default now(),
    primary key (user_id, blocked_id),
    check (user_id <> blocked_id)
);
comment on table user_blocks is 'Whom a person does not want to meet. The other is not told.';
select pg_temp.own('user_blocks', 'sid', at => '');

create table notifications (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    kind slug not null,
    title label not null,
    target text,
    created_at timestamptz not null default now(),
    read_at timestamptz
);
comment on table notifications is 'What a person should be told.';
comment on column notifications.target is 'Where it leads, as a path of the application.';
create index on notifications (user_id) where read_at is null;
select pg_temp.own('notifications', 'sud');

create table beta_testers (
    user_id uuid primary key references users on delete cascade,
    cohort slug not null,
    joined_at timestamptz not null default now(),
    left_at timestamptz check (left_at >= joined_at)
);
comment on table beta_testers is 'Who tries what is not finished.';
select pg_temp.own('beta_testers', 's', at => '');

create table beta_test_sessions (
    id uuid primary key default uuid7(),
    user_id uuid not null references beta_testers on delete cascade,
    feature slug not null,
    build label not null,
    rating scale10,
    remarks prose,
    created_at timestamptz not null default now()
);
comment on table beta_test_sessions is 'One try of an unfinished feature, and what the tester says of it.';
select pg_temp.own('beta_test_sessions', 'siu');
