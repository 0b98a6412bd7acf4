-- The navigator: what it advised, and what came of it.

create table navigator_protocols (
    code slug primary key,
    title label not null,
    about prose,
    rules fields not null default '{}'
);
comment on table navigator_protocols is 'Ways in which the navigator may act, and its rules.';
select pg_temp.reference('navigator_protocols');

create table navigator_decisions (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    turn_id uuid,
    protocol slug not null references navigator_protocols,
    realm text not null check (realm in ('upperworld', 'middleworld', 'underworld')),
    depth text not null check (depth in ('surface', 'moderate', 'deep')),
    safe boolean not null,
    level cognitive_level,
    stability score,
    bypassing score,
    reasons text[] not null default '{}',
    created_at timestamptz not null default now()
);
comment on table navigator_decisions is 'How deep the navigator let a turn go, and why.';
comment on column navigator_decisions.safe is 'Whether field work was taken to be safe.';
comment on column navigator_decisions.level is 'Rolling mean of the cognitive level.';
comment on column navigator_decisions.bypassing is 'How often feeling was passed over.';
select pg_temp.own('navigator_decisions', 's');
select pg_temp.within('navigator_decisions', 'turn_id', 'maia_turns', 'set null');

create table navigator_feedback (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    decision_id uuid not null,
    fitting scale10 not null,
    remarks prose,
    created_at timestamptz not null default now(),
    unique (decision_id)
);
comment on table navigator_feedback is 'What the person says of a decision.';
select pg_temp.own('navigator_feedback');
select pg_temp.within('navigator_feedback', 'decision_id', 'navigator_decisions');

create table navigator_reflections (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    decision_id uuid,
    body prose not null,
    created_at timestamptz not null default now()
);
comment on table navigator_reflections is 'What a person thinks of their way, looking back.';
select pg_temp.own('navigator_reflections');
select pg_temp.within('navigator_reflections', 'decision_id', 'navigator_decisions', 'set null');

create table navigator_experiments (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    title label not null,
    hypothesis prose not null,
    outcome prose,
    state text not null default 'planned' check (state in ('planned', 'running', 'done', 'dropped')),
    created_at timestamptz not null default now(),
    ended_at timestamptz check (ended_at >= created_at)
);
comment on table navigator_experiments is 'Something a person tries in life.';
select pg_temp.own('navigator_experiments');

create table navigator_learning_events (
    id uuid primary key default uuid7(),
    protocol slug not null references navigator_protocols,
    kind slug not null,
    before fields not null default '{}',
    after fields not null default '{}',
    created_at timestamptz not null default now()
);
comment on table navigator_learning_events is 'When the navigator''s rules were changed by what was learned. It names nobody.';

create table navigator_wisdom_patterns (
    id uuid primary key default uuid7(),
    pattern label not null unique,
    body prose,
    people count not null check (people >= 5),
    created_at timestamptz not null default now()
);
comment on table navigator_wisdom_patterns is 'What helped many in the same place.';
select pg_temp.reference('navigator_wisdom_patterns');

create table navigator_effectiveness (
    protocol slug not null references navigator_protocols,
    rule slug not null,
    phase phase_code not null,
    tries count not null default 0,
    fitting score,
    measured_at timestamptz not null default now(),
    primary key (protocol, rule, phase)
);
comment on table navigator_effectiveness is 'How well each rule of each protocol does in each phase.';
