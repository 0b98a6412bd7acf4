-- The way of a person: where they are, what they aim at, what they notice.

create table user_phases (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    domain life_domain not null,
    phase phase_code not null,
    confidence score,
    during tstzrange not null default tstzrange(now(), null) check (not isempty(during)),
    exclude using gist (user_id with =, domain with =, during with &&)
);
comment on table user_phases is 'In which phase a person is, in each part of life; never in two at once.';
select pg_temp.own('user_phases', at => 'during');

create table spiral_stage_transitions (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    domain life_domain not null,
    from_phase phase_code,
    to_phase phase_code not null,
    trigger prose,
    happened_at timestamptz not null default now(),
    check (from_phase <> to_phase)
);
comment on table spiral_stage_transitions is 'When a person went from one phase to another.';
comment on column spiral_stage_transitions.trigger is 'What it came with.';
select pg_temp.own('spiral_stage_transitions', at => 'happened_at');

create table consciousness_states (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    kind text not null check (kind in ('reading', 'moment', 'trace', 'session')),
    level cognitive_level,
    presence score,
    coherence score,
    element element,
    phase phase_code,
    detail fields not null default '{}',
    noticed_at timestamptz not null default now()
);
comment on table consciousness_states is 'How awake a person was, read or noticed: long readings, moments, traces.';
select pg_temp.own('consciousness_states', at => 'noticed_at');
create index on consciousness_states (user_id, kind, noticed_at desc);

create table consciousness_emotional_states (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    emotion label not null,
    valence real not null check (valence between -1 and 1),
    arousal score not null,
    body_place label,
    noticed_at timestamptz not null default now()
);
comment on table consciousness_emotional_states is 'What a person felt.';
comment on column consciousness_emotional_states.valence is 'From unpleasant, -1, to pleasant, 1.';
select pg_temp.own('consciousness_emotional_states', at => 'noticed_at');

create table consciousness_development_plans (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    title label not null,
    body prose,
    from_phase phase_code,
    to_phase phase_code,
    state text not null default 'active' check (state in ('active', 'paused', 'done', 'dropped')),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
comment on table consciousness_development_plans is 'What a person means to grow into.';
select pg_temp.own('consciousness_development_plans');

create table consciousness_goals (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    plan_id uuid,
    title label not null,
    domain life_domain,
    progress score not null default 0,
    due_on date,
    reached_at timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
comment on table consciousness_goals is 'A step of it.';
create index on consciousness_goals (user_id, due_on) where reached_at is null;
select pg_temp.own('consciousness_goals');
select pg_temp.within('consciousness_goals', 'plan_id', 'consciousness_development_plans', 'set null');

create table consciousness_tasks (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    goal_id uuid,
    title label not null,
    due_at timestamptz,
    done_at timestamptz,
    created_at timestamptz not null default now()
);
comment on table consciousness_tasks is 'Something small to do.';
create index on consciousness_tasks (user_id, due_at) where done_at is null;
select pg_temp.own('consciousness_tasks');
select pg_temp.within('consciousness_tasks', 'goal_id', 'consciousness_goals');

create table consciousness_progress_log (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    goal_id uuid not null,
    progress score not null,
    remarks prose,
    created_at timestamptz not null default now()
);
comment on table consciousness_progress_log is 'How far it was, each time somebody looked.';
select pg_temp.own('consciousness_progress_log');
select pg_temp.within('consciousness_progress_log', 'goal_id', 'consciousness_goals');

create table consciousness_achievements (
    user_id uuid not null references users on delete cascade,
    code slug not null,
    title label not null,
    reached_at timestamptz not null default now(),
    primary key (user_id, code)
);
comment on table consciousness_achievements is 'What a person has reached.';
select pg_temp.own('consciousness_achievements', 's', at => 'reached_at');

create table consciousness_work_sessions (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    practice label not null,
    intention prose,
    quality scale10,
    depth scale10,
    remarks prose,
    started_at timestamptz not null default now(),
    ended_at timestamptz check (ended_at >= started_at)
);
comment on table consciousness_work_sessions is 'A time of practice, and how it was.';
select pg_temp.own('consciousness_work_sessions', at => 'started_at');

create table consciousness_expansion_events (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    kind text not null check (kind in ('opening', 'peak', 'crisis', 'unity', 'descent')),
    body prose not null,
    intensity scale10,
    integrated boolean not null default false,
    happened_at timestamptz not null default now()
);
comment on table consciousness_expansion_events is 'When the borders were wider than usual, or gave way.';
comment on column consciousness_expansion_events.integrated is 'Whether the person says it has found its place.';
select pg_temp.own('consciousness_expansion_events', at => 'happened_at');

create table consciousness_life_integration (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    domain life_domain not null,
    body prose not null,
    helped scale10,
    created_at timestamptz not null default now()
);
comment on table consciousness_life_integration is 'How something understood came into life.';
select pg_temp.own('consciousness_life_integration');

create table consciousness_language_evolution (
    user_id uuid not null references users on delete cascade,
    week date not null check (extract(isodow from week) = 1),
    words count not null,
    distinct_words count not null,
    metaphors count not null default 0,
    first_person score,
    elements fields not null default '{}',
    primary key (user_id, week),
    check (distinct_words <= words)
);
comment on table consciousness_language_evolution is 'How a person''s language changes, week by week.';
comment on column consciousness_language_evolution.week is 'Its Monday.';
select pg_temp.own('consciousness_language_evolution', 'sd', at => '');

create table consciousness_sacred_timing (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    title label not null,
    rhythm text not null check (rhythm in ('once', 'daily', 'weekly', 'lunar', 'yearly')),
    next_at timestamptz not null,
    active boolean not null default true,
    created_at timestamptz not null default now()
);
comment on table consciousness_sacred_timing is 'Times that a person wants to keep.';
create index on consciousness_sacred_timing (next_at) where active;
select pg_temp.own('consciousness_sacred_timing');

create table consciousness_rules (
    code slug primary key,
    title label not null,
    condition fields not null,
    advice prose not null,
    active boolean not null default true
);
comment on table consciousness_rules is 'By what MAIA reads a state, and what it then does.';
select pg_temp.reference('consciousness_rules');

create table elemental_evolution (
    user_id uuid not null references users on delete cascade,
    day date not null,
    fire score not null,
    water score not null,
    earth score not null,
    air score not null,
    aether score not null,
    primary key (user_id, day)
);
comment on table elemental_evolution is 'How the five elements stood in a person, day by day.';
select pg_temp.own('elemental_evolution', 'sd', at => '');

create table reality_assessments (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    domain life_domain not null,
    satisfaction scale10 not null,
    truth scale10,
    body prose,
    assessed_at timestamptz not null default now()
);
comment on table reality_assessments is 'How a person sees their life as it is.';
comment on column reality_assessments.truth is 'How honest they were with themselves.';
select pg_temp.own('reality_assessments', at => 'assessed_at');
