-- The practice as a trade: where and when practitioners work, what they are trained in, who supervises them.

create table practices (
    id uuid primary key default uuid7(),
    slug slug not null unique,
    title label not null,
    about prose,
    owner_id uuid not null references clinical_practitioners on delete restrict,
    listed boolean not null default false,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
comment on table practices is 'A place of work, of one practitioner or several. They share rooms, not records.';
comment on column practices.listed is 'Whether everybody who signed in finds it.';
create policy seen_select on practices for select to authenticated using (listed or owner_id = (select auth.uid()));
create policy own_insert on practices for insert to authenticated with check (owner_id = (select auth.uid()));
create policy own_update on practices for update to authenticated
    using (owner_id = (select auth.uid())) with check (owner_id = (select auth.uid()));
create policy own_delete on practices for delete to authenticated using (owner_id = (select auth.uid()));

create table practice_members (
    practice_id uuid not null references practices on delete cascade,
    practitioner_id uuid not null references clinical_practitioners on delete cascade,
    role text not null default 'practitioner' check (role in ('practitioner', 'assistant')),
    joined_at timestamptz not null default now(),
    primary key (practice_id, practitioner_id)
);
comment on table practice_members is 'Who works in a practice.';
create policy seen_select on practice_members for select to authenticated
    using (practitioner_id = (select auth.uid()) or practice_id in (select p.id from practices p));
create policy owner_insert on practice_members for insert to authenticated
    with check (practice_id in (select p.id from practices p where p.owner_id = (select auth.uid())));
create policy owner_update on practice_members for update to authenticated
    using (practice_id in (select p.id from practices p where p.owner_id = (select auth.uid())))
    with check (practice_id in (select p.id from practices p where p.owner_id = (select auth.uid())));
create policy leave_delete on practice_members for delete to authenticated using (
    practitioner_id = (select auth.uid()) or practice_id in (select p.id from practices p where p.owner_id = (select auth.uid())));

create table practitioner_availability (
    id uuid primary key default uuid7(),
    practitioner_id uuid not null references clinical_practitioners on delete cascade,
    weekday smallint not null check (weekday between 1 and 7),
    minutes int4range not null check (not isempty(minutes) and minutes <@ int4range(0, 1440)),
    exclude using gist (practitioner_id with =, weekday with =, minutes with &&)
);
comment on table practitioner_availability is 'When a practitioner works, week by week, in their own time zone.';
comment on column practitioner_availability.weekday is '1 is Monday.';
comment on column practitioner_availability.minutes is 'Minutes of the day.';
create policy seen_select on practitioner_availability for select to authenticated
    using (practitioner_id in (select p.id from clinical_practitioners p));
select pg_temp.own('practitioner_availability', 'iud', 'practitioner_id');

create table appointments (
    id uuid primary key default uuid7(),
    practitioner_id uuid not null references clinical_practitioners on delete restrict,
    client_id uuid not null,
    during tstzrange not null check (not isempty(during) and not lower_inf(during) and not upper_inf(during)),
    way text not null default 'room' check (way in ('room', 'video', 'telephone')),
    state text not null default 'booked' check (state in ('booked', 'held', 'cancelled', 'missed')),
    remarks sealed,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    exclude using gist (practitioner_id with =, during with &&) where (state in ('booked', 'held'))
);
comment on table appointments is 'When practitioner and client meet. A practitioner cannot be in two at once.';
comment on column appointments.remarks is 'What the practitioner wants to remember for it.';
create index on appointments using gist (practitioner_id, during);
select pg_temp.own('appointments', owner => 'practitioner_id');
select pg_temp.within('appointments', 'client_id', 'clinical_clients', 'cascade', 'practitioner_id');
select pg_temp.logged('appointments', 'practitioner_id');

create table professional_credentials (
    id uuid primary key default uuid7(),
    practitioner_id uuid not null references clinical_practitioners on delete cascade,
    kind text not null check (kind in ('license', 'degree', 'training', 'insurance')),
    title label not null,
    issuer label not null,
    number enveloped,
    valid daterange not null check (not isempty(valid)),
    verified_at timestamptz,
    verified_by uuid references users on delete set null,
    created_at timestamptz not null default now()
);
comment on table professional_credentials is 'What a practitioner is entitled to, and who has seen the proof.';
comment on column professional_credentials.number is 'Its number, encrypted by the service.';
create policy own_select on professional_credentials for select to authenticated
    using (practitioner_id = (select auth.uid()));
create policy own_insert on professional_credentials for insert to authenticated
    with check (practitioner_id = (select auth.uid()) and verified_at is null and verified_by is null);
create policy own_delete on professional_credentials for delete to authenticated using (practitioner_id = (select auth.uid()));
create index on professional_credentials (practitioner_id, created_at desc);
select pg_temp.logged('professional_credentials', 'practitioner_id');

create table supervision_relationships (
    id uuid primary key default uuid7(),
    practitioner_id uuid not null references clinical_practitioners on delete restrict,
    supervisor_id uuid not null references clinical_practitioners on delete restrict,
    during daterange not null default daterange(current_date, null) check (not isempty(during)),
    agreed_at timestamptz,
    created_at timestamptz not null default now(),
    check (practitioner_id <> supervisor_id),
    exclude using gist (practitioner_id with =, supervisor_id with =, during with &&)
);
comment on table supervision_relationships is 'Who supervises whom. The one supervised asks, the supervisor agrees.';
create policy both_select on supervision_relationships for select to authenticated
    using (practitioner_id = (select auth.uid()) or supervisor_id = (select auth.uid()));
create policy own_insert on supervision_relationships for insert to authenticated
    with check (practitioner_id = (select auth.uid()) and agreed_at is null);
create policy supervisor_update on supervision_relationships for update to authenticated
    using (supervisor_id = (select auth.uid())) with check (supervisor_id = (select auth.uid()));
create policy own_delete on supervision_relationships for delete to authenticated
    using (practitioner_id = (select auth.uid()) and agreed_at is null);
select pg_temp.logged('supervision_relationships', 'practitioner_id');

create table supervision_sessions (
    id uuid primary key default uuid7(),
    practitioner_id uuid not null references clinical_practitioners on delete restrict,
    relationship_id uuid not null,
    content sealed not null,
    key_id uuid not null generated always as (sealed_key(content)) stored,
    held_at timestamptz not null,
    created_at timestamptz not null default now()
);
comment on table supervision_sessions is 'What the one supervised keeps of a supervision.';
comment on column supervision_sessions.content is 'The notes.';
select pg_temp.own('supervision_sessions', owner => 'practitioner_id', at => 'held_at');
select pg_temp.within('supervision_sessions', 'relationship_id', 'supervision_relationships', 'cascade', 'practitioner_id');
select pg_temp.within('supervision_sessions', 'key_id', 'sealing_keys', 'no action', 'practitioner_id');
select pg_temp.logged('supervision_sessions', 'practitioner_id');

create table user_framework_access (
    practitioner_id uuid not null references clinical_practitioners on delete cascade,
    framework slug not null references clinical_frameworks on delete cascade,
    credential_id uuid references professional_credentials on delete set null,
    granted_at timestamptz not null default now(),
    primary key (practitioner_id, framework)
);
comment on table user_framework_access is 'Which restricted framework a practitioner may use, and on what proof.';
select pg_temp.own('user_framework_access', 's', 'practitioner_id', '');

create table referrals (
    id uuid primary key default uuid7(),
    practitioner_id uuid not null references clinical_practitioners on delete restrict,
    client_id uuid not null,
    receiver_id uuid not null references clinical_practitioners on delete restrict,
    content sealed not null,
    state text not null default 'sent' check (state in ('sent', 'accepted', 'declined', 'withdrawn')),
    created_at timestamptz not null default now(),
    check (practitioner_id <> receiver_id)
);
comment on table referrals is 'A client is recommended to another practitioner.';
comment on column referrals.content is 'The letter, sealed for its receiver.';
create policy both_select on referrals for select to authenticated
    using (practitioner_id = (select auth.uid()) or receiver_id = (select auth.uid()));
create policy own_insert on referrals for insert to authenticated
    with check (practitioner_id = (select auth.uid()) and state = 'sent');
create policy own_delete on referrals for delete to authenticated using (practitioner_id = (select auth.uid()) and state = 'sent');
select pg_temp.within('referrals', 'client_id', 'clinical_clients', 'cascade', 'practitioner_id');
create index on referrals (practitioner_id, created_at desc);
select pg_temp.logged('referrals', 'practitioner_id');

create table steward_actions_log (
    id uuid primary key default uuid7(),
    steward_id uuid references users on delete set null,
    kind slug not null,
    subject text not null,
    reason prose not null,
    created_at timestamptz not null default now()
);
comment on table steward_actions_log is 'What stewards of the community did in its name. Only added to.';
comment on column steward_actions_log.subject is 'What it was done to.';
create policy steward_select on steward_actions_log for select to authenticated using ((select has_role('steward')));
create policy steward_insert on steward_actions_log for insert to authenticated
    with check (steward_id = (select auth.uid()) and (select has_role('steward')));
select pg_temp.logged('steward_actions_log', 'steward_id');
