-- Whom a person lives with, and who they are to themselves at different ages.

create table relationship_essences (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    name label not null,
    kind text not null check (kind in ('partner', 'parent', 'child', 'sibling', 'friend', 'colleague', 'teacher', 'ancestor', 'maia', 'other')),
    essence prose,
    closeness score,
    since date,
    ended_on date check (ended_on >= since),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
comment on table relationship_essences is 'Somebody in a person''s life, as that person sees them.';
select pg_temp.own('relationship_essences');

create table relationship_patterns (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    relationship_id uuid not null,
    pattern label not null,
    body prose,
    element element,
    occurrences count not null default 1,
    created_at timestamptz not null default now()
);
comment on table relationship_patterns is 'What comes again between the two.';
select pg_temp.own('relationship_patterns');
select pg_temp.within('relationship_patterns', 'relationship_id', 'relationship_essences');

create table user_relationship_context (
    user_id uuid primary key references users on delete cascade,
    trust score not null default 0,
    depth score not null default 0,
    turns count not null default 0,
    preferred_address label,
    boundaries prose,
    updated_at timestamptz not null default now()
);
comment on table user_relationship_context is 'How MAIA and the person stand to each other.';
comment on column user_relationship_context.boundaries is 'What the person does not want to be spoken of.';
select pg_temp.own('user_relationship_context');

create table selflet_nodes (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    name label not null,
    age_from smallint check (age_from between 0 and 130),
    age_until smallint check (age_until between 0 and 130),
    essence prose,
    archetype archetype,
    element element,
    future boolean not null default false,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    check (age_until >= age_from)
);
comment on table selflet_nodes is 'A self of another time: who one was, or may become.';
comment on column selflet_nodes.future is 'Whether it is one that has not been yet.';
select pg_temp.own('selflet_nodes');

create table selflet_messages (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    from_id uuid,
    to_id uuid not null,
    body prose not null,
    deliver_at timestamptz not null default now(),
    read_at timestamptz,
    created_at timestamptz not null default now()
);
comment on table selflet_messages is 'What one self says to another.';
comment on column selflet_messages.from_id is 'Empty: the person of now.';
select pg_temp.own('selflet_messages');
create index on selflet_messages (user_id, deliver_at) where read_at is null;
select pg_temp.within('selflet_messages', 'from_id', 'selflet_nodes', 'set null');
select pg_temp.within('selflet_messages', 'to_id', 'selflet_nodes');

create table selflet_metamorphoses (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    from_id uuid not null,
    to_id uuid not null,
    body prose,
    symbol label,
    happened_at timestamptz not null default now(),
    check (from_id <> to_id)
);
comment on table selflet_metamorphoses is 'How one self became another.';
select pg_temp.own('selflet_metamorphoses', at => 'happened_at');
select pg_temp.within('selflet_metamorphoses', 'from_id', 'selflet_nodes');
select pg_temp.within('selflet_metamorphoses', 'to_id', 'selflet_nodes');

create table selflet_boundaries (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    selflet_id uuid not null,
    body prose not null,
    firmness score not null default 1,
    created_at timestamptz not null default now()
);
comment on table selflet_boundaries is 'What a self does not want touched.';
select pg_temp.own('selflet_boundaries');
select pg_temp.within('selflet_boundaries', 'selflet_id', 'selflet_nodes');

create table selflet_reinterpretations (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    selflet_id uuid not null,
    memory_id uuid,
    before prose,
    after prose not null,
    created_at timestamptz not null default now()
);
comment on table selflet_reinterpretations is 'The same past, told otherwise.';
select pg_temp.own('selflet_reinterpretations');
select pg_temp.within('selflet_reinterpretations', 'selflet_id', 'selflet_nodes');
select pg_temp.within('selflet_reinterpretations', 'memory_id', 'memories', 'set null');
