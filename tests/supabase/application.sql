-- The application's own tables, as it has them: people by uuid here and by text there, moments with a zone and without,
-- numbers as keys, notes in the clear. Rows that ours refuse are among them.
create table public.users (
  user_id uuid primary key, email varchar(255), username varchar(100), password_hash text, full_name varchar(255),
  created_at timestamp, updated_at timestamp
);
insert into public.users
  select md5('user' || n)::uuid, 'person' || n || '@example.org', case when n % 10 = 0 then 'Same Name' else 'Person ' || n end,
    'x', 'Pérsön ' || n, '2025-03-30 02:30'::timestamp + n * interval '1 hour', '2026-01-01'
  from generate_series(1, 60) n;
create table public.user_roles (user_role_id uuid primary key, user_id uuid references public.users, role_type varchar(50), granted_at timestamp);
insert into public.user_roles values
  (md5('r1')::uuid, md5('user1')::uuid, 'emdr_therapist', '2025-01-01'), (md5('r2')::uuid, md5('user2')::uuid, 'juggler', null);

create table public.community_channels (
  id uuid primary key, slug text unique not null, name text not null, description text, icon text, field_archetype text, sort_order int
);
insert into public.community_channels
  select md5('channel' || n)::uuid, 'channel-' || n, 'Channel ' || n, 'About it', 'i', 'water', n from generate_series(1, 3) n;
create table public.community_threads (
  id uuid primary key, channel_id uuid not null, author_id text not null, title text not null, content text not null, is_pinned boolean,
  view_count int, created_at timestamptz not null default now()
);
insert into public.community_threads
  select md5('thread' || n)::uuid, md5('channel' || 1 + n % 3)::uuid, md5('user' || 1 + n % 60), 'Title ' || n, 'Body ' || n,
    n % 2 = 0, n, '2026-01-01'::timestamptz + n * interval '1 minute' from generate_series(1, 40) n;
create table public.community_replies (
  id uuid primary key, thread_id uuid not null, parent_reply_id uuid, author_id text not null, author_name text, content text not null,
  created_at timestamptz not null default now()
);
-- The oldest answers the newest: what a row refers to may come after it.
insert into public.community_replies
  select md5('reply' || n)::uuid, md5('thread' || 1 + n % 40)::uuid, case when n < 1500 then md5('reply' || n + 1)::uuid end,
    md5('user' || 1 + n % 60), 'A', 'Reply ' || n, '2026-02-01'::timestamptz + n * interval '1 second'
  from generate_series(1, 1500) n;

create table public.maia_sessions (id uuid primary key, user_id uuid, created_at timestamptz not null, origin text, meta jsonb);
insert into public.maia_sessions
  select md5('session' || n)::uuid, md5('user' || n)::uuid, '2026-01-01', 'web', '{}' from generate_series(1, 20) n;
create table public.maia_turns (
  id bigserial primary key, session_id text not null, turn_index int not null, user_text text not null, maia_text text not null,
  processing_profile text not null, primary_engine text not null, latency_ms int, element text, created_at timestamptz not null
);
insert into public.maia_turns (session_id, turn_index, user_text, maia_text, processing_profile, primary_engine, latency_ms, element, created_at)
  select md5('session' || 1 + n % 20)::uuid::text, n / 20, 'Q ' || n, 'A ' || n, 'DEEP', 'Local_Model:8b', n, 'air', '2026-01-02'
  from generate_series(0, 199) n;
create table public.conversation_turns (
  id uuid primary key, user_id text not null, session_id text, role text not null, content text not null, created_at timestamptz not null
);
insert into public.conversation_turns
  select md5('turn' || n)::uuid, md5('user' || 1 + n % 4), 'loose-' || n % 4, (array['user', 'assistant'])[1 + n / 4 % 2], 'Said ' || n,
    '2026-01-03'::timestamptz + n * interval '1 minute' from generate_series(0, 79) n;
create table public.breakthrough_moments (
  id uuid primary key, user_id text not null, "timestamp" timestamp not null, insight text not null, element text,
  integrated boolean not null, related_themes text[]
);
insert into public.breakthrough_moments
  select md5('moment' || n)::uuid, md5('user' || n), '2025-10-26 01:30'::timestamp + n * interval '1 hour', 'Seen ' || n,
    case n when 7 then 'plasma' else 'Fire' end, false, '{}'
  from generate_series(1, 70) n;  -- ten are of nobody
create table public.somatic_memories (
  id serial primary key, "userId" text not null, session_id text, element text, tags text[], content text, metadata jsonb,
  meaning extensions.vector(3), created_at timestamptz not null
);
insert into public.somatic_memories ("userId", tags, content, metadata, meaning, created_at)
  select md5('user' || n), array['t'], 'Felt ' || n, '{"deep": [1, null]}', '[1,2,3]', '2026-01-04' from generate_series(1, 30) n;
create table public.elemental_evolution (
  id serial primary key, user_id text not null, session_id text not null, fire_level numeric(3, 2), water_level numeric(3, 2),
  earth_level numeric(3, 2), air_level numeric(3, 2), aether_level numeric(3, 2), recorded_at timestamp
);
insert into public.elemental_evolution (user_id, session_id, fire_level, water_level, earth_level, air_level, aether_level, recorded_at)
  select md5('user' || n), 's', 0.1, 0.2, 0.3, 0.4, case n when 5 then 1.5 else 0.5 end, '2026-01-05 23:59:59.999999'
  from generate_series(1, 10) n;

create table public.clinical_clients (
  client_id uuid primary key, practitioner_id uuid not null, encrypted_name text, encrypted_contact text, primary_concerns text,
  start_date date, status varchar(20), created_at timestamp, updated_at timestamp
);
insert into public.clinical_clients
  select md5('client' || n)::uuid, md5('user' || 1 + n % 2)::uuid, 'canary name ' || n, null, 'canary concern ' || n, '2025-05-01',
    (array['active', 'inactive', 'completed'])[1 + n % 3], '2025-05-01 08:00', '2025-05-01 08:00' from generate_series(1, 8) n;
create table public.session_notes (
  session_id uuid primary key, client_id uuid not null, practitioner_id uuid not null, treatment_plan_id uuid, session_date date not null,
  session_duration int, encrypted_notes text, interventions_used jsonb, status varchar(20), reviewed_at timestamp, created_at timestamp
);
insert into public.session_notes
  select md5('note' || n)::uuid, md5('client' || 1 + n % 8)::uuid, md5('user' || 1 + (1 + n % 8) % 2)::uuid, null, '2025-06-01'::date + n,
    case n when 4 then 9999 else 50 end,
    case n when 5 then null when 6 then repeat('canary long ', 20000) else 'canary note ünicode ' || n end, '{"done": ["canary parts"]}',
    'final', case when n = 3 then '2025-07-01 10:00'::timestamp end, '2025-06-01 12:00' from generate_series(1, 24) n;
create table public.audit_logs (audit_id uuid primary key, user_id uuid, action_type text);
insert into public.audit_logs values (md5('audit')::uuid, null, 'login');
-- Without a key, and with a row that is there twice; and one that nothing tells apart.
create table public.consciousness_micro_moments (id uuid, user_id text not null, moment_description text not null);
insert into public.consciousness_micro_moments
  select md5('micro' || least(n, 4))::uuid, md5('user' || n), 'Moment ' || n from generate_series(1, 5) n;
create table public.ea_analytics_events (user_id text, event_type text not null, payload jsonb not null);
create table public.community_commons_posts (
  id uuid primary key, user_id text, title text, content text, tags text[], created_at timestamptz
);
insert into public.community_commons_posts values (md5('post')::uuid, md5('user1'), ' Title ', 'Body', null, '2026-01-06');
