-- Voice, and where files are.

create table storage_references (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    bucket slug not null,
    path text not null check (path !~ '(^/|//|(^|/)\.\.?(/|$))' and char_length(path) between 1 and 1024),
    bytes bigint not null check (bytes >= 0),
    media_type text not null check (media_type ~ '^[a-z]+/[a-z0-9.+-]+$'),
    content_digest digest not null,
    created_at timestamptz not null default now(),
    unique (bucket, path)
);
comment on table storage_references is 'Which object is whose, and what it must be. Rows that name files point here.';
comment on column storage_references.path is 'The object''s key, without a way out of its folder.';
comment on column storage_references.content_digest is 'SHA-256 of its bytes.';
select pg_temp.own('storage_references', 'sid');

create table voices (
    code slug primary key,
    title label not null,
    role text not null check (role in ('sage', 'oracle', 'guide', 'companion', 'bard')),
    element element,
    engine slug not null,
    license text not null
);
comment on table voices is 'Voices that speak here, and by what right.';
select pg_temp.reference('voices');

create table voice_preferences (
    user_id uuid primary key references users on delete cascade,
    voice slug references voices on delete set null,
    speed real not null default 1 check (speed between 0.5 and 2),
    pitch real not null default 1 check (pitch between 0.5 and 2),
    listen boolean not null default false,
    keep_recordings boolean not null default false,
    captions boolean not null default true,
    updated_at timestamptz not null default now()
);
comment on table voice_preferences is 'How a person wants to be spoken to, and whether their voice is kept. It is not, unless they say so.';
select pg_temp.own('voice_preferences');

create table voice_events (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    turn_id uuid,
    kind text not null check (kind in ('heard', 'spoken', 'interrupted', 'failed')),
    milliseconds count,
    engine slug,
    created_at timestamptz not null default now()
);
comment on table voice_events is 'What happened when something was spoken or heard.';
select pg_temp.own('voice_events', 'sid');
select pg_temp.within('voice_events', 'turn_id', 'maia_turns', 'set null');

create table voice_recordings (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    turn_id uuid,
    file_id uuid not null,
    seconds real not null check (seconds > 0),
    delete_at timestamptz not null,
    created_at timestamptz not null default now()
);
comment on table voice_recordings is 'A recording that its speaker wants kept, and until when.';
create index on voice_recordings (delete_at);
select pg_temp.own('voice_recordings');
select pg_temp.within('voice_recordings', 'turn_id', 'maia_turns', 'set null');
select pg_temp.within('voice_recordings', 'file_id', 'storage_references');

create table voice_transcripts (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    recording_id uuid,
    body prose not null,
    language text not null default 'en',
    confidence score,
    model slug not null,
    created_at timestamptz not null default now()
);
comment on table voice_transcripts is 'What was heard, as text.';
select pg_temp.own('voice_transcripts');
select pg_temp.within('voice_transcripts', 'recording_id', 'voice_recordings', 'set null');
