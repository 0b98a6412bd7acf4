-- Measures of the field: coherence, sound and body.

create table elemental_personalities (
    element element primary key,
    name label not null,
    tone prose not null,
    voice slug
);
comment on table elemental_personalities is 'How MAIA speaks in each element.';
select pg_temp.reference('elemental_personalities');

create table coherence_field_readings (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    session_id uuid,
    coherence score not null,
    amplitude score not null,
    phase_coherence score not null,
    symbolic_overlap score not null,
    golden_ratio score not null,
    pattern text not null check (pattern in ('constructive', 'destructive', 'harmonic', 'chaotic')),
    elements fields not null default '{}',
    measured_at timestamptz not null default now(),
    check (abs(coherence - (0.20 * amplitude + 0.40 * phase_coherence + 0.25 * symbolic_overlap + 0.15 * golden_ratio)) < 0.01)
);
comment on table coherence_field_readings is 'How coherent a person''s field was: four parts, weighed 0.20, 0.40, 0.25 and 0.15.';
comment on column coherence_field_readings.phase_coherence is 'Order parameter of Kuramoto over the nodes.';
comment on column coherence_field_readings.golden_ratio is 'How near the parts are to the golden ratio.';
select pg_temp.own('coherence_field_readings', at => 'measured_at');
select pg_temp.within('coherence_field_readings', 'session_id', 'maia_sessions', 'set null');

create table coherence_nodes (
    user_id uuid not null references users on delete cascade,
    reading_id uuid not null,
    number smallint not null check (number > 0),
    level cognitive_level not null,
    phase phase_code not null,
    archetypes text[] not null default '{}',
    element element not null,
    primary key (reading_id, number)
);
comment on table coherence_nodes is 'The nodes that a reading was computed over.';
select pg_temp.own('coherence_nodes');
select pg_temp.within('coherence_nodes', 'reading_id', 'coherence_field_readings');

create table biometric_readings (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    device label not null,
    kind text not null check (kind in ('heart_rate', 'hrv', 'breath', 'skin', 'eeg')),
    value real not null,
    unit text not null check (unit in ('bpm', 'ms', 'uS', 'uV')),
    quality score,
    measured_at timestamptz not null
);
comment on table biometric_readings is 'What a device measured of the body.';
create index on biometric_readings using brin (measured_at);
select pg_temp.own('biometric_readings', at => 'measured_at');

create table neuropod_protocol_definitions (
    code slug primary key,
    title label not null,
    frequencies real[] not null check (cardinality(frequencies) > 0),
    minutes smallint not null check (minutes between 1 and 180),
    element element,
    contraindications text[] not null default '{}'
);
comment on table neuropod_protocol_definitions is 'Programs of sound and vibration, and who must not use them.';
comment on column neuropod_protocol_definitions.frequencies is 'In hertz, in their order.';
select pg_temp.reference('neuropod_protocol_definitions');

create table neuropod_sessions (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    protocol slug not null references neuropod_protocol_definitions,
    kind text not null check (kind in ('vibroacoustic', 'archetypal')),
    archetype archetype,
    before scale10,
    after scale10,
    remarks prose,
    started_at timestamptz not null default now(),
    ended_at timestamptz check (ended_at >= started_at)
);
comment on table neuropod_sessions is 'A person went through a program.';
comment on column neuropod_sessions.before is 'How well they felt before.';
select pg_temp.own('neuropod_sessions', at => 'started_at');

create table neuropod_session_coherence (
    user_id uuid not null references users on delete cascade,
    session_id uuid not null,
    minute smallint not null check (minute >= 0),
    coherence score not null,
    primary key (session_id, minute)
);
comment on table neuropod_session_coherence is 'Coherence minute by minute within a session.';
select pg_temp.own('neuropod_session_coherence');
select pg_temp.within('neuropod_session_coherence', 'session_id', 'neuropod_sessions');

create table agent_emergence_candidates (
    id uuid primary key default uuid7(),
    name label not null,
    archetype archetype,
    element element,
    occurrences count not null default 1,
    people count not null check (people >= 5),
    state text not null default 'watched' check (state in ('watched', 'proposed', 'adopted', 'dropped')),
    created_at timestamptz not null default now()
);
comment on table agent_emergence_candidates is 'A voice that shows itself in many conversations. A steward decides on it.';
create policy steward_select on agent_emergence_candidates for select to authenticated using ((select has_role('steward')));
create policy steward_update on agent_emergence_candidates for update to authenticated
    using ((select has_role('steward'))) with check ((select has_role('steward')));
