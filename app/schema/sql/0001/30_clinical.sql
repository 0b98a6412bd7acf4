-- The practice. What practitioners write of their clients is here as ciphertext alone: the key never reaches the
-- appliance. All of it is logged in a chain of the practitioner's own, and its statements by pgaudit.

create table clinical_practitioners (
    id uuid primary key references users on delete restrict,
    display_name label not null,
    modalities text[] not null default '{}',
    accepts_clients boolean not null default false,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
comment on table clinical_practitioners is 'Who treats people here. Cannot be removed while there are records of clients.';
comment on column clinical_practitioners.id is 'The user who is the practitioner.';
comment on column clinical_practitioners.modalities is 'Ways of working, in the practitioner''s words.';
create policy all_select on clinical_practitioners for select to authenticated
    using (accepts_clients or id = (select auth.uid()));
create policy own_insert on clinical_practitioners for insert to authenticated
    with check (id = (select auth.uid()) and (select has_role('practitioner')));
create policy own_update on clinical_practitioners for update to authenticated
    using (id = (select auth.uid())) with check (id = (select auth.uid()));
create index on clinical_practitioners (id) where accepts_clients;
select pg_temp.logged('clinical_practitioners', 'id');

create table sealing_keys (
    id uuid primary key default gen_random_uuid(),
    practitioner_id uuid not null references clinical_practitioners on delete restrict,
    wrapped bytea not null check (octet_length(wrapped) between 40 and 4096),
    derivation fields not null,
    created_at timestamptz not null default now(),
    retired_at timestamptz check (retired_at >= created_at)
);
comment on table sealing_keys is 'Keys that seal notes, each wrapped by one that only its practitioner can derive.';
comment on column sealing_keys.wrapped is 'The key, encrypted by AES-KW with the key that the passphrase gives.';
comment on column sealing_keys.derivation is 'How that is derived: function, salt, cost.';
comment on column sealing_keys.retired_at is 'Since when nothing new is sealed with it; what was, can still be read.';
select pg_temp.own('sealing_keys', 'siu', 'practitioner_id');
select pg_temp.logged('sealing_keys', 'practitioner_id');

create table clinical_clients (
    id uuid primary key default uuid7(),
    practitioner_id uuid not null references clinical_practitioners on delete restrict,
    user_id uuid references users on delete set null,
    identity sealed not null,
    key_id uuid not null generated always as (sealed_key(identity)) stored,
    state text not null default 'active' check (state in ('inquiry', 'active', 'paused', 'ended')),
    since date not null default current_date,
    until date check (until >= since),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
comment on table clinical_clients is 'Who is treated, by whom. Each practitioner has a row of their own for the same person.';
comment on column clinical_clients.user_id is 'The client''s own account, where there is one and the client agreed to the link.';
comment on column clinical_clients.identity is 'Name, birth date and ways to reach the client, as JSON.';
create index on clinical_clients (practitioner_id) where state = 'active';
-- Removing a client would remove signed notes: a record ends, and is erased by a service when it must be.
select pg_temp.own('clinical_clients', 'siu', 'practitioner_id');
select pg_temp.within('clinical_clients', 'key_id', 'sealing_keys', 'no action', 'practitioner_id');
select pg_temp.logged('clinical_clients', 'practitioner_id');

create table client_consents (
    id uuid primary key default uuid7(),
    practitioner_id uuid not null references clinical_practitioners on delete restrict,
    client_id uuid not null,
    subject text not null check (subject in ('treatment', 'records', 'supervision', 'research', 'recording', 'contact')),
    given boolean not null,
    given_by text not null default 'client' check (given_by in ('client', 'guardian')),
    evidence sealed,
    created_at timestamptz not null default clock_timestamp()
);
comment on table client_consents is 'What a client agreed to with a practitioner. Only added to; the last line of a subject holds.';
comment on column client_consents.evidence is 'The signed paper or the words spoken.';
create index on client_consents (client_id, subject, created_at desc);
select pg_temp.own('client_consents', 'si', 'practitioner_id');
select pg_temp.within('client_consents', 'client_id', 'clinical_clients', 'cascade', 'practitioner_id');
select pg_temp.logged('client_consents', 'practitioner_id');

create table session_notes (
    id uuid primary key default uuid7(),
    practitioner_id uuid not null references clinical_practitioners on delete restrict,
    client_id uuid not null,
    held_at timestamptz not null,
    minutes smallint check (minutes between 1 and 600),
    content sealed not null,
    key_id uuid not null generated always as (sealed_key(content)) stored,
    amends uuid,
    signed_at timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    check (amends <> id)
);
comment on table session_notes is 'What the practitioner writes of a session. A signed note is not changed: another one amends it.';
comment on column session_notes.content is 'The note.';
comment on column session_notes.amends is 'The signed note that this one corrects.';
comment on column session_notes.signed_at is 'Since when it stands.';
create index on session_notes (client_id, held_at desc);
create policy own_select on session_notes for select to authenticated using (practitioner_id = (select auth.uid()));
create policy own_insert on session_notes for insert to authenticated with check (practitioner_id = (select auth.uid()));
create policy own_update on session_notes for update to authenticated
    using (practitioner_id = (select auth.uid()) and signed_at is null) with check (practitioner_id = (select auth.uid()));
create policy own_delete on session_notes for delete to authenticated
    using (practitioner_id = (select auth.uid()) and signed_at is null);
create index on session_notes (practitioner_id, held_at desc);
select pg_temp.within('session_notes', 'client_id', 'clinical_clients', 'cascade', 'practitioner_id');
select pg_temp.within('session_notes', 'key_id', 'sealing_keys', 'no action', 'practitioner_id');
select pg_temp.within('session_notes', 'amends', 'session_notes', 'no action', 'practitioner_id');
select pg_temp.logged('session_notes', 'practitioner_id');

create table clinical_frameworks (
    code slug primary key,
    title label not null,
    about prose,
    source text,
    restricted boolean not null default false
);
comment on table clinical_frameworks is 'Ways to understand and treat: parts work, somatic, developmental, elemental.';
comment on column clinical_frameworks.restricted is 'Open to those alone who have shown that they are trained in it.';
select pg_temp.reference('clinical_frameworks');

create table clinical_assessments (
    id uuid primary key default uuid7(),
    practitioner_id uuid not null references clinical_practitioners on delete restrict,
    client_id uuid not null,
    framework slug references clinical_frameworks,
    instrument slug not null,
    content sealed not null,
    key_id uuid not null generated always as (sealed_key(content)) stored,
    assessed_at timestamptz not null default now(),
    created_at timestamptz not null default now()
);
comment on table clinical_assessments is 'An instrument filled in for a client.';
comment on column clinical_assessments.instrument is 'Which questionnaire or observation it is.';
comment on column clinical_assessments.content is 'Answers and what they are taken to mean.';
select pg_temp.own('clinical_assessments', owner => 'practitioner_id', at => 'assessed_at');
select pg_temp.within('clinical_assessments', 'client_id', 'clinical_clients', 'cascade', 'practitioner_id');
select pg_temp.within('clinical_assessments', 'key_id', 'sealing_keys', 'no action', 'practitioner_id');
select pg_temp.logged('clinical_assessments', 'practitioner_id');

create table treatment_plans (
    id uuid primary key default uuid7(),
    practitioner_id uuid not null references clinical_practitioners on delete restrict,
    client_id uuid not null,
    framework slug references clinical_frameworks,
    state text not null default 'draft' check (state in ('draft', 'agreed', 'done', 'dropped')),
    content sealed not null,
    key_id uuid not null generated always as (sealed_key(content)) stored,
    review_on date,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
comment on table treatment_plans is 'What practitioner and client mean to do.';
comment on column treatment_plans.content is 'Aims, means, agreements.';
create index on treatment_plans (practitioner_id, review_on) where state = 'agreed';
select pg_temp.own('treatment_plans', owner => 'practitioner_id');
select pg_temp.within('treatment_plans', 'client_id', 'clinical_clients', 'cascade', 'practitioner_id');
select pg_temp.within('treatment_plans', 'key_id', 'sealing_keys', 'no action', 'practitioner_id');
select pg_temp.logged('treatment_plans', 'practitioner_id');

create table treatment_goals (
    id uuid primary key default uuid7(),
    practitioner_id uuid not null references clinical_practitioners on delete restrict,
    plan_id uuid not null,
    place smallint not null check (place > 0),
    content sealed not null,
    key_id uuid not null generated always as (sealed_key(content)) stored,
    reached score not null default 0,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    unique (plan_id, place)
);
comment on table treatment_goals is 'One aim of a plan.';
comment on column treatment_goals.place is 'Its place in the plan, from 1.';
comment on column treatment_goals.reached is 'How far it is reached.';
select pg_temp.own('treatment_goals', owner => 'practitioner_id');
select pg_temp.within('treatment_goals', 'plan_id', 'treatment_plans', 'cascade', 'practitioner_id');
select pg_temp.within('treatment_goals', 'key_id', 'sealing_keys', 'no action', 'practitioner_id');
select pg_temp.logged('treatment_goals', 'practitioner_id');

create table outcome_measurements (
    id uuid primary key default uuid7(),
    practitioner_id uuid not null references clinical_practitioners on delete restrict,
    client_id uuid not null,
    instrument slug not null,
    content sealed not null,
    key_id uuid not null generated always as (sealed_key(content)) stored,
    measured_at timestamptz not null default now(),
    created_at timestamptz not null default now()
);
comment on table outcome_measurements is 'The same measure at several times, to see whether it helps.';
comment on column outcome_measurements.content is 'The values, sealed: a course of scores says who somebody is.';
create index on outcome_measurements (client_id, instrument, measured_at);
select pg_temp.own('outcome_measurements', owner => 'practitioner_id', at => 'measured_at');
select pg_temp.within('outcome_measurements', 'client_id', 'clinical_clients', 'cascade', 'practitioner_id');
select pg_temp.within('outcome_measurements', 'key_id', 'sealing_keys', 'no action', 'practitioner_id');
select pg_temp.logged('outcome_measurements', 'practitioner_id');

create table risk_flags (
    id uuid primary key default uuid7(),
    practitioner_id uuid not null references clinical_practitioners on delete restrict,
    client_id uuid not null,
    severity text not null check (severity in ('watch', 'elevated', 'acute')),
    content sealed not null,
    key_id uuid not null generated always as (sealed_key(content)) stored,
    raised_at timestamptz not null default now(),
    settled_at timestamptz check (settled_at >= raised_at)
);
comment on table risk_flags is 'A danger the practitioner keeps in view.';
comment on column risk_flags.content is 'What it is, and the agreed way of acting.';
create index on risk_flags (practitioner_id, severity) where settled_at is null;
select pg_temp.own('risk_flags', 'siu', 'practitioner_id', 'raised_at');
select pg_temp.within('risk_flags', 'client_id', 'clinical_clients', 'cascade', 'practitioner_id');
select pg_temp.within('risk_flags', 'key_id', 'sealing_keys', 'no action', 'practitioner_id');
select pg_temp.logged('risk_flags', 'practitioner_id');

create table research_data (
    id uuid primary key default gen_random_uuid(),
    study slug not null,
    subject digest not null,
    instrument slug not null,
    day_of_study integer not null check (day_of_study >= 0),
    measures fields not null,
    created_on date not null default current_date
);
comment on table research_data is 'Measures given to research with consent, without a way back to the person.';
comment on column research_data.subject is 'Pseudonym: SHA-256 with a salt of the study that is thrown away at its end.';
comment on column research_data.day_of_study is 'Days since the subject''s first measure: no dates.';
select pg_temp.logged('research_data', '');
