-- How MAIA learns to answer better. What hangs on a person belongs to that person.

create table maia_turn_feedback (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    turn_id uuid not null,
    kind text not null check (kind in ('helpful', 'felt_seen', 'too_much', 'off', 'harmful')),
    remarks prose,
    created_at timestamptz not null default now(),
    unique (turn_id, kind)
);
comment on table maia_turn_feedback is 'What a person says of an answer.';
select pg_temp.own('maia_turn_feedback');
select pg_temp.within('maia_turn_feedback', 'turn_id', 'maia_turns');

create table maia_misattunements (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    turn_id uuid not null,
    kind text not null check (kind in ('tone', 'depth', 'pace', 'content', 'element')),
    repaired boolean not null default false,
    created_at timestamptz not null default now()
);
comment on table maia_misattunements is 'When an answer missed the person, and whether that was mended.';
select pg_temp.own('maia_misattunements');
select pg_temp.within('maia_misattunements', 'turn_id', 'maia_turns');

create table maia_adaptations (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    aspect slug not null,
    setting fields not null,
    reason prose,
    active boolean not null default true,
    created_at timestamptz not null default now()
);
comment on table maia_adaptations is 'How MAIA speaks otherwise to this person, and why. The person may end it.';
create unique index on maia_adaptations (user_id, aspect) where active;
select pg_temp.own('maia_adaptations', 'sud');

create table turn_measures (
    user_id uuid not null references users on delete cascade,
    turn_id uuid not null,
    measure text not null check (measure in ('axiom', 'socratic', 'cognitive', 'shape')),
    rule slug not null,
    passed boolean,
    value real,
    created_at timestamptz not null default now(),
    primary key (turn_id, measure, rule)
);
comment on table turn_measures is 'What validators found of a turn: axioms kept, questions asked, level, shape.';
select pg_temp.own('turn_measures', 's');
select pg_temp.within('turn_measures', 'turn_id', 'maia_turns');

create table oracle_usage_events (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    session_id uuid,
    milliseconds count not null,
    tokens count not null,
    outcome text not null check (outcome in ('answered', 'limited', 'refused', 'failed')),
    created_at timestamptz not null default now()
);
comment on table oracle_usage_events is 'One question to the oracle, for its limit of rate.';
select pg_temp.own('oracle_usage_events', 's');
select pg_temp.within('oracle_usage_events', 'session_id', 'maia_sessions', 'set null');

create table usage_events (
    id uuid not null default uuid7(),
    user_id uuid not null references users on delete cascade,
    kind slug not null,
    detail fields not null default '{}',
    created_at timestamptz not null default now(),
    primary key (id)
);
comment on table usage_events is 'What of the application is used. Stays here, and stops where the person paused it.';
create index on usage_events using brin (created_at);
select pg_temp.own('usage_events', 'sid');

create table maia_engine_comparisons (
    id uuid primary key default uuid7(),
    prompt_digest digest not null,
    one slug not null,
    other slug not null,
    preferred text not null check (preferred in ('one', 'other', 'neither')),
    judged_by text not null check (judged_by in ('person', 'validator')),
    created_at timestamptz not null default now(),
    check (one <> other)
);
comment on table maia_engine_comparisons is 'Which of two models answered better. It names nobody and holds no text.';

create table maia_gold_responses (
    id uuid primary key default uuid7(),
    phase phase_code,
    element element,
    prompt prose not null,
    answer prose not null,
    written_by uuid references users on delete set null,
    created_at timestamptz not null default now()
);
comment on table maia_gold_responses is 'Answers as they should be, written by stewards: never taken from conversations.';
create policy steward_select on maia_gold_responses for select to authenticated using ((select has_role('steward')));
create policy steward_insert on maia_gold_responses for insert to authenticated
    with check ((select has_role('steward')) and written_by = (select auth.uid()));
create policy steward_delete on maia_gold_responses for delete to authenticated using ((select has_role('steward')));

create table maia_learning_operations (
    id uuid primary key default uuid7(),
    kind slug not null,
    state text not null default 'waiting' check (state in ('waiting', 'running', 'done', 'failed')),
    done count not null default 0,
    wanted count not null default 0,
    checkpoint fields not null default '{}',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
comment on table maia_learning_operations is 'Long work on what was learned, and where it stands.';
comment on column maia_learning_operations.checkpoint is 'From where it goes on after it was interrupted.';
create index on maia_learning_operations (created_at) where state in ('waiting', 'running');
