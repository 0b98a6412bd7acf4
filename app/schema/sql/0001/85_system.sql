-- How the appliance itself fares, and who looked at what.

create table data_access_logs (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    reader_id uuid references users on delete set null,
    purpose text not null check (purpose in ('care', 'supervision', 'support', 'export', 'moderation', 'research')),
    what slug not null,
    created_at timestamptz not null default now()
);
comment on table data_access_logs is 'Who looked at a person''s data and what for. The person may read it.';
comment on column data_access_logs.reader_id is 'Who looked.';
comment on column data_access_logs.what is 'Which part of the data.';
select pg_temp.own('data_access_logs', 's');

create table safety_guardian_interventions (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    turn_id uuid,
    reason text not null check (reason in ('self_harm', 'harm', 'crisis', 'bypassing', 'dependence', 'minor')),
    severity text not null check (severity in ('note', 'caution', 'stop')),
    response slug not null,
    created_at timestamptz not null default now()
);
comment on table safety_guardian_interventions is 'When the guardian stepped in between the person and an answer.';
comment on column safety_guardian_interventions.response is 'What it did.';
select pg_temp.own('safety_guardian_interventions', 's');
select pg_temp.within('safety_guardian_interventions', 'turn_id', 'maia_turns', 'set null');
select pg_temp.logged('safety_guardian_interventions');

create table system_health_metrics (
    part slug not null,
    metric slug not null,
    at timestamptz not null default now(),
    value double precision not null,
    primary key (part, metric, at)
);
comment on table system_health_metrics is 'What services of MAIA say of their own work. Metrics of the machine are in Prometheus.';

create table skills_registry (
    code slug primary key,
    title label not null,
    about prose,
    version integer not null default 1 check (version > 0),
    asks_level cognitive_level,
    active boolean not null default true
);
comment on table skills_registry is 'What MAIA can do on request.';
comment on column skills_registry.asks_level is 'The mean level that opens it.';
select pg_temp.reference('skills_registry');

create table skill_unlocks (
    user_id uuid not null references users on delete cascade,
    skill slug not null references skills_registry on delete cascade,
    unlocked_at timestamptz not null default now(),
    primary key (user_id, skill)
);
comment on table skill_unlocks is 'Which of them is open to whom.';
select pg_temp.own('skill_unlocks', 's', at => 'unlocked_at');

create table skill_usage_events (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    skill slug not null references skills_registry on delete cascade,
    turn_id uuid,
    succeeded boolean not null,
    milliseconds count,
    created_at timestamptz not null default now()
);
comment on table skill_usage_events is 'One use of a skill.';
select pg_temp.own('skill_usage_events', 's');
select pg_temp.within('skill_usage_events', 'turn_id', 'maia_turns', 'set null');

create table skill_feedback (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    usage_id uuid not null,
    helpful boolean not null,
    remarks prose,
    created_at timestamptz not null default now(),
    unique (usage_id)
);
comment on table skill_feedback is 'What the person says of it.';
select pg_temp.own('skill_feedback');
select pg_temp.within('skill_feedback', 'usage_id', 'skill_usage_events');
