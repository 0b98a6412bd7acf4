-- What MAIA remembers of a person, for that person alone.

create table maia_sessions (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    title label,
    mode text not null default 'companion' check (mode in ('companion', 'oracle', 'journal', 'voice', 'ritual')),
    started_at timestamptz not null default now(),
    ended_at timestamptz check (ended_at >= started_at)
);
comment on table maia_sessions is 'A conversation with MAIA, from its first turn to its last.';
select pg_temp.own('maia_sessions', at => 'started_at');

create table maia_turns (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    session_id uuid not null,
    number integer not null check (number > 0),
    speaker text not null check (speaker in ('person', 'maia')),
    body prose not null,
    path text check (path in ('fast', 'core', 'deep', 'oracle')),
    element element,
    phase phase_code,
    level cognitive_level,
    model slug,
    milliseconds count,
    created_at timestamptz not null default now(),
    unique (session_id, number)
);
comment on table maia_turns is 'One turn of a conversation.';
comment on column maia_turns.path is 'Which way of answering was taken.';
comment on column maia_turns.level is 'Cognitive level of what the person said.';
comment on column maia_turns.model is 'Which model answered.';
comment on column maia_turns.milliseconds is 'How long the answer took.';
select pg_temp.own('maia_turns', 'sid');
select pg_temp.within('maia_turns', 'session_id', 'maia_sessions');

create table memory_threads (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    title label not null,
    summary prose,
    state text not null default 'open' check (state in ('open', 'resting', 'woven')),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
comment on table memory_threads is 'A theme that goes through several conversations.';
select pg_temp.own('memory_threads');

create table conversation_themes (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    session_id uuid not null,
    thread_id uuid,
    theme label not null,
    weight score not null default 0.5,
    created_at timestamptz not null default now(),
    unique (session_id, theme)
);
comment on table conversation_themes is 'What a conversation was about.';
select pg_temp.own('conversation_themes');
select pg_temp.within('conversation_themes', 'session_id', 'maia_sessions');
select pg_temp.within('conversation_themes', 'thread_id', 'memory_threads', 'set null');

create table conversation_insights (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    turn_id uuid,
    body prose not null,
    element element,
    phase phase_code,
    archetype archetype,
    confirmed boolean,
    created_at timestamptz not null default now()
);
comment on table conversation_insights is 'Something understood in a conversation.';
comment on column conversation_insights.confirmed is 'What the person said to it; empty: was not asked.';
select pg_temp.own('conversation_insights');
select pg_temp.within('conversation_insights', 'turn_id', 'maia_turns', 'set null');

create table episodes (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    session_id uuid,
    title label not null,
    summary prose not null,
    happened_at timestamptz not null default now(),
    intensity score,
    element element,
    phase phase_code,
    created_at timestamptz not null default now()
);
comment on table episodes is 'A stretch of life or talk that belongs together.';
comment on column episodes.happened_at is 'When it was, in life.';
select pg_temp.own('episodes', at => 'happened_at');
select pg_temp.within('episodes', 'session_id', 'maia_sessions', 'set null');

create table memories (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    kind text not null check (kind in ('episodic', 'semantic', 'somatic', 'soul', 'morphic', 'ain')),
    episode_id uuid,
    body prose not null,
    body_place label check (body_place is null or kind = 'somatic'),
    significance score not null default 0.5,
    strength score not null default 1,
    recalled count not null default 0,
    recalled_at timestamptz,
    superseded_by uuid,
    detail fields not null default '{}',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    check (superseded_by <> id)
);
comment on table memories is 'What is kept, in one table for all kinds: they are searched, weighed and forgotten alike.';
comment on column memories.kind is 'episodic: something that happened; semantic: something that is so; somatic: felt in the body; soul: '
    'what runs through a life; morphic: a form that comes again; ain: drawn from all of these.';
comment on column memories.body_place is 'Where in the body.';
comment on column memories.strength is 'Fades with time, grows with recall.';
comment on column memories.superseded_by is 'A later memory that says it better or otherwise.';
select pg_temp.own('memories');
create index on memories (user_id, kind, significance desc) where superseded_by is null;
select pg_temp.within('memories', 'episode_id', 'episodes', 'set null');
select pg_temp.within('memories', 'superseded_by', 'memories', 'set null');

create table memory_links (
    user_id uuid not null references users on delete cascade,
    from_id uuid not null,
    to_id uuid not null,
    kind text not null check (kind in ('recalls', 'causes', 'contradicts', 'completes', 'resembles')),
    weight score not null default 0.5,
    created_at timestamptz not null default now(),
    primary key (from_id, to_id, kind),
    check (from_id <> to_id)
);
comment on table memory_links is 'How two memories stand to each other.';
select pg_temp.own('memory_links');
select pg_temp.within('memory_links', 'from_id', 'memories');
select pg_temp.within('memory_links', 'to_id', 'memories');

create table user_session_patterns (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    pattern label not null,
    occurrences count not null default 1,
    first_seen_at timestamptz not null default now(),
    last_seen_at timestamptz not null default now() check (last_seen_at >= first_seen_at),
    detail fields not null default '{}',
    unique (user_id, pattern)
);
comment on table user_session_patterns is 'What comes again from conversation to conversation.';
select pg_temp.own('user_session_patterns', at => 'last_seen_at');

create table pattern_connections (
    user_id uuid not null references users on delete cascade,
    from_id uuid not null,
    to_id uuid not null,
    kind text not null default 'together' check (kind in ('together', 'leads', 'opposes')),
    strength score not null default 0.5,
    created_at timestamptz not null default now(),
    primary key (from_id, to_id),
    check (from_id <> to_id)
);
comment on table pattern_connections is 'How two patterns of a person go together.';
select pg_temp.own('pattern_connections');
select pg_temp.within('pattern_connections', 'from_id', 'user_session_patterns');
select pg_temp.within('pattern_connections', 'to_id', 'user_session_patterns');

create table soul_patterns (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    pattern label not null,
    archetype archetype,
    element element,
    evidence count not null default 0,
    confidence score not null default 0,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    unique (user_id, pattern)
);
comment on table soul_patterns is 'What a life seems to be about.';
comment on column soul_patterns.evidence is 'How many memories speak for it.';
select pg_temp.own('soul_patterns');

create table breakthrough_moments (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    turn_id uuid,
    body prose not null,
    kind text not null default 'insight' check (kind in ('insight', 'release', 'decision', 'encounter', 'integration')),
    intensity score,
    element element,
    phase phase_code,
    happened_at timestamptz not null default now()
);
comment on table breakthrough_moments is 'A moment after which something was otherwise.';
select pg_temp.own('breakthrough_moments', at => 'happened_at');
select pg_temp.within('breakthrough_moments', 'turn_id', 'maia_turns', 'set null');

create table holoflower_journal_entries (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    title label,
    body prose not null,
    mood scale10,
    petals fields not null default '{}',
    element element,
    phase phase_code,
    written_on date not null default current_date,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
comment on table holoflower_journal_entries is 'The journal.';
comment on column holoflower_journal_entries.petals is 'Petal of the flower to how full it is, 0 to 1.';
create index on holoflower_journal_entries (user_id, written_on desc);
create index on holoflower_journal_entries using gin (to_tsvector('simple', body));
select pg_temp.own('holoflower_journal_entries');

create table dreams (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    body prose not null,
    lucid boolean not null default false,
    dreamt_on date not null default current_date,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
comment on table dreams is 'Dreams, as they were told.';
select pg_temp.own('dreams');
