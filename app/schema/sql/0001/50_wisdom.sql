-- Sources and what was taken from them, symbols and archetypes, practice.

create table phases (
    code phase_code primary key,
    number smallint not null unique check (number between 1 and 12),
    element element not null,
    modality text not null check (modality in ('cardinal', 'fixed', 'mutable')),
    direction text not null check (direction in ('inward', 'outward')),
    name label not null,
    meaning prose not null
);
comment on table phases is 'The twelve phases of the Spiralogic.';
comment on column phases.direction is 'The first six lead inward, the others back out.';
select pg_temp.reference('phases', true);
insert into phases values
    ('F1', 1, 'fire', 'cardinal', 'inward', 'The Call', 'an impulse appears'),
    ('F2', 2, 'fire', 'fixed', 'inward', 'Gauntlet of Action', 'the idea meets resistance'),
    ('F3', 3, 'fire', 'mutable', 'inward', 'Identity Integration', 'one becomes what one practises'),
    ('W1', 4, 'water', 'cardinal', 'inward', 'Emotional Opening', 'vulnerability is admitted'),
    ('W2', 5, 'water', 'fixed', 'inward', 'Shadow Gauntlet', 'old wounds are faced'),
    ('W3', 6, 'water', 'mutable', 'inward', 'Inner Gold Discovery', 'pain becomes meaning'),
    ('E1', 7, 'earth', 'cardinal', 'outward', 'Inner Knowing to Structure', 'a first plan or container'),
    ('E2', 8, 'earth', 'fixed', 'outward', 'Resourcing and Building', 'steady practice, resources'),
    ('E3', 9, 'earth', 'mutable', 'outward', 'Visible Manifestation', 'finished form, stewardship'),
    ('A1', 10, 'air', 'cardinal', 'outward', 'One-to-One Sharing', 'the first honest telling'),
    ('A2', 11, 'air', 'fixed', 'outward', 'Codification and Teaching', 'a story becomes a framework'),
    ('A3', 12, 'air', 'mutable', 'outward', 'Universal Seeding', 'released to culture, it seeds the next cycle');

create table archetypes (
    name archetype primary key,
    phase phase_code references phases,
    element element,
    about prose
);
comment on table archetypes is 'Archetypes with a place in the Spiralogic. People may name others.';
select pg_temp.reference('archetypes', true);
insert into archetypes (name, phase, element) values
    ('Visionary', 'F1', 'fire'), ('Performer', 'F2', 'fire'), ('Pilgrim', 'F3', 'fire'),
    ('Nurturer', 'W1', 'water'), ('Alchemist', 'W2', 'water'), ('Mystic', 'W3', 'water'),
    ('Steward', 'E1', 'earth'), ('Builder', 'E2', 'earth'), ('Gardener', 'E3', 'earth'),
    ('Companion', 'A1', 'air'), ('Collaborator', 'A2', 'air'), ('Sage', 'A3', 'air');

create table symbols (
    id uuid primary key default uuid7(),
    name label not null unique,
    element element,
    meanings text[] not null default '{}'
);
comment on table symbols is 'Symbols and what they have been taken to mean.';
select pg_temp.reference('symbols');

create table user_symbols (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    name label not null,
    symbol_id uuid references symbols on delete set null,
    meaning prose,
    occurrences count not null default 1,
    last_seen_at timestamptz not null default now(),
    unique (user_id, name)
);
comment on table user_symbols is 'Symbols that come to a person, and what they mean to them.';
select pg_temp.own('user_symbols', at => 'last_seen_at');

create table user_archetypes (
    user_id uuid not null references users on delete cascade,
    archetype archetype not null,
    strength score not null default 0.5,
    shadow boolean not null default false,
    updated_at timestamptz not null default now(),
    primary key (user_id, archetype, shadow)
);
comment on table user_archetypes is 'Which archetypes live in a person, in the light or in the shadow.';
select pg_temp.own('user_archetypes', at => '');

create table wisdom_sources (
    id uuid primary key default uuid7(),
    title label not null,
    author label,
    kind text not null check (kind in ('book', 'talk', 'transcript', 'article', 'tradition', 'own')),
    rights text not null check (rights in ('own', 'licensed', 'public_domain', 'quotation')),
    language text not null default 'en',
    added_at timestamptz not null default now()
);
comment on table wisdom_sources is 'Where wisdom was taken from, and by what right.';
select pg_temp.reference('wisdom_sources');

create table wisdom_passages (
    id uuid primary key default uuid7(),
    source_id uuid not null references wisdom_sources on delete cascade,
    place integer not null check (place > 0),
    body prose not null,
    element element,
    phase phase_code,
    unique (source_id, place)
);
comment on table wisdom_passages is 'A piece of a source, as long as it can be searched by meaning.';
create index on wisdom_passages using gin (to_tsvector('english', body));
select pg_temp.reference('wisdom_passages');

create table experiential_teachings (
    id uuid primary key default uuid7(),
    title label not null,
    body prose not null,
    element element,
    phase phase_code,
    from_passage uuid references wisdom_passages on delete set null,
    minutes smallint check (minutes > 0),
    created_at timestamptz not null default now()
);
comment on table experiential_teachings is 'Something to do, so that it is understood.';
select pg_temp.reference('experiential_teachings');

create table consciousness_wisdom_synthesis (
    id uuid primary key default uuid7(),
    title label not null,
    body prose not null,
    passages uuid[] not null default '{}',
    people count not null check (people = 0 or people >= 5),
    created_at timestamptz not null default now()
);
comment on table consciousness_wisdom_synthesis is 'What sources and many people''s experience say together.';
comment on column consciousness_wisdom_synthesis.people is 'How many people''s experience is in it: none, or at least five.';
select pg_temp.reference('consciousness_wisdom_synthesis');

create table wisdom_moments (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    passage_id uuid references wisdom_passages on delete set null,
    body prose not null,
    resonance scale10,
    created_at timestamptz not null default now()
);
comment on table wisdom_moments is 'When something said met the person.';
select pg_temp.own('wisdom_moments');

create table ea_practices (
    code slug primary key,
    title label not null,
    body prose not null,
    element element not null,
    minutes smallint not null check (minutes > 0)
);
comment on table ea_practices is 'Practices of the elemental alchemy.';
select pg_temp.reference('ea_practices');

create table ea_journey_state (
    user_id uuid primary key references users on delete cascade,
    element element not null default 'fire',
    step smallint not null default 1 check (step > 0),
    updated_at timestamptz not null default now()
);
comment on table ea_journey_state is 'Where a person is in the course of the book.';
select pg_temp.own('ea_journey_state');

create table ea_book_queries (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    question prose not null,
    passages uuid[] not null default '{}',
    helpful boolean,
    created_at timestamptz not null default now()
);
comment on table ea_book_queries is 'What a person asked the book.';
select pg_temp.own('ea_book_queries');

create table ea_practice_events (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    practice slug not null references ea_practices,
    kind text not null check (kind in ('seen', 'begun', 'done', 'skipped')),
    remarks prose,
    created_at timestamptz not null default now()
);
comment on table ea_practice_events is 'What a person did with a practice; seeing the one of the day counts too.';
select pg_temp.own('ea_practice_events');

create table ea_shadow_patterns (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    pattern label not null,
    element element not null,
    body prose,
    integrated_at timestamptz,
    created_at timestamptz not null default now(),
    unique (user_id, pattern)
);
comment on table ea_shadow_patterns is 'What a person does not like to see of themselves.';
select pg_temp.own('ea_shadow_patterns');

create table ea_shadow_instances (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    pattern_id uuid not null,
    body prose not null,
    intensity scale10,
    happened_at timestamptz not null default now()
);
comment on table ea_shadow_instances is 'A time it showed.';
select pg_temp.own('ea_shadow_instances', at => 'happened_at');
select pg_temp.within('ea_shadow_instances', 'pattern_id', 'ea_shadow_patterns');
