-- The odd ones, by hand. Run by the project's owner, with the search_path that the database sets.
create type public.mood as enum ('calm', 'stormy', 'deep blue', '');
create type public.place as (city text, at point, since date);
create domain public.mark as text check (value <> 'forbidden');
create type public.span as range (subtype = float8);
create collation public.caseless (provider = icu, locale = 'und-u-ks-level2', deterministic = false);

-- Every kind of value, at its edges.
create table public.kinds (
  id int generated always as identity primary key, feeling public.mood, feelings public.mood[], at public.place,
  placed public.place[], marked public.mark default 'x', spans public.span, days daterange, many int4multirange,
  about jsonb, plain json, raw bytea, list text[], grid int[][], single float4, twice float8, exact numeric,
  price numeric(20, 7), moment timestamptz, local timestamp, day date, clock timetz, gap interval, net inet, net2 cidr,
  mac macaddr, bits bit(5), more bit varying, found tsvector, ask tsquery, doc xml, tags extensions.hstore, pt point, ring polygon, word char(5),
  ref regclass, fn regprocedure, one "char", who public.citext, lsn pg_lsn, money money,
  double_price numeric generated always as (price * 2) stored);
insert into public.kinds (feeling, feelings, at, placed, spans, days, many, about, plain, raw, list, grid, single, twice,
    exact, price, moment, local, day, clock, gap, net, net2, mac, bits, more, found, ask, doc, tags, pt, ring, word, ref,
    fn, one, who, lsn, money)
  values
  ('deep blue', '{calm,NULL,""}', row('Zürich', point(1, 2), '0044-03-15 BC'), array[row('a "b", c', null, null)::place],
   '[1.5,2)', '(,)', '{[1,3),[7,)}', '{"a": [1, null, "\u00e9", 1e400], "k": {}}', '{"b" : 1,  "b" : 2}',
   '\x00ff00', array['', null, 'NULL', 'a,b', '{}', E'\\', E'\t\n'], '[0:1][2:3]={{1,2},{3,4}}', 'NaN', '-Infinity',
   'NaN', 1234567890123.1234567, 'infinity', '-infinity', '4713-01-01 BC', '23:59:59.999999+14', '-1 mon +3 days 04:05:06.7',
   '2001:db8::1/64', '10.0.0.0/8', '08:00:2b:01:02:03', '10101', '1', $$'fat':2 'cat':1A$$, 'fat & !rat', '<a>&amp;</a>',
   'a=>1, b=>NULL', point('-0', 'Infinity'), '((0,0),(1,1),(1,0))', 'ab', 'public.kinds', 'auth.uid()', 'x',
   'Mixed@Case.org', '16/B374D848', 12.5),
  ('', '{}', null, '{}', 'empty', 'empty', '{}', 'null', 'null', '', '{}', '{}', '-0', 5e-324, 'Infinity', 0,
   '294276-12-31 23:59:59.999999+00', '4713-01-01 00:00:00 BC', '5874897-12-31', '00:00-15', '178000000 years', '::', '::/0',
   'ff:ff:ff:ff:ff:ff', '00000', '', '', '', '', '', point(0, 0), '((0,0))', '', 0::regclass, 0::regprocedure, '', '', '0/0', 0),
  (null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null,
   null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null);
insert into public.kinds (moment, local, day, twice, exact, list)
  select '2026-03-29 00:59:59.999999+00'::timestamptz + n * interval '1 us', '1900-01-01'::timestamp + n * interval '7 days',
    '2026-01-01'::date - n * 1000, sin(n), n ^ 13, array_fill('é'::text, array[n]) from generate_series(1, 300) n;

-- Names that must be quoted, pairs that differ by case or underscore only, unicode.
create table public."Users" (id serial primary key, "Mixed Case" text, "select" int, "with ""quote""" text, "%s{}" text);
create table public.users (id serial primary key, "Mixed Case" text);
create table public.user_s (id serial primary key);
create table public."Ünïcode 表 🌍" ("ключ" uuid primary key default extensions.uuid_generate_v4(), "wert;--" text);
create table public."table" ("column" int primary key, "from" text default 'it''s; --');
create schema "Odd schema";
create table "Odd schema"."a.b" (id int primary key, "x.y" text);
insert into public."Users" ("Mixed Case", "select", "with ""quote""", "%s{}")
  select 'A' || n, n, '"', '%(x)s' from generate_series(1, 50) n;
insert into public.users ("Mixed Case") select 'a' || n from generate_series(1, 60) n;
insert into public.user_s select from generate_series(1, 5);
insert into public."Ünïcode 表 🌍" ("wert;--") values ('שלום'), ('👩‍👩‍👧‍👦'), (E'e\u0301'), (chr(1114111)), (E'line\r\nend\\.'), ('\.');
insert into public."table" values (1, default), (2, ''), (3, null);
insert into "Odd schema"."a.b" values (1, 'y');

-- No key, rows that are there twice; no columns; nothing in it; big rows; dropped columns; many columns.
create table public.logs (said text, at timestamptz);
insert into public.logs select 'line ' || n % 20, '2026-01-01' from generate_series(1, 500) n;
create table public.bare ();
insert into public.bare select from generate_series(1, 7);
create table public.nothing (id int primary key, note text);
create table public.huge (id int primary key, body text, raw bytea);
insert into public.huge select n, repeat(md5(n::text), 60000), decode(repeat(md5(n::text), 30000), 'hex')
  from generate_series(1, 12) n;
alter table public.huge alter body set storage external;
create table public.worn (a int, gone text, id int primary key, gone_too int, b text default 'b');
insert into public.worn select n, 'x', n, n, 'b' || n from generate_series(1, 40) n;
alter table public.worn drop gone, drop gone_too, add late jsonb default '{"late": true}', alter a set default 7;
create unlogged table public.scratch (id int primary key);
insert into public.scratch select generate_series(1, 10);

-- Partitions of partitions, inheritance.
create table public.events (id bigint generated by default as identity, day date not null, kind text not null, about jsonb,
  primary key (id, day, kind)) partition by range (day);
create table public.events_2025 partition of public.events for values from ('2025-01-01') to ('2026-01-01');
create table public.events_2026 partition of public.events for values from ('2026-01-01') to ('2027-01-01')
  partition by list (kind);
create table public.events_2026_a partition of public.events_2026 for values in ('a');
create table public.events_2026_rest partition of public.events_2026 default;
create table public.events_else partition of public.events default;
create index on public.events (kind, day);
insert into public.events (day, kind, about)
  select '2025-06-01'::date + n % 900, chr(97 + n % 3), jsonb_build_object('n', n) from generate_series(1, 900) n;
create table public.base (id int primary key, note text);
create table public.derived (extra text) inherits (public.base);
insert into public.base values (1, 'of base');
insert into public.derived values (2, 'of derived', 'more');

-- References into auth and to itself, in circles, deferrable, with actions.
create table public.profiles (id uuid primary key references auth.users on delete cascade, nick public.citext unique,
  best uuid references public.profiles on delete set null deferrable initially deferred, avatar text);
insert into public.profiles (id, nick) select id, 'Nick' || row_number() over () from auth.users;
update public.profiles p set best = (select id from public.profiles where id > p.id order by id limit 1);
set constraints all immediate;
create table public.ring_a (id int primary key, b int);
create table public.ring_b (id int primary key, a int references public.ring_a);
insert into public.ring_a values (1, 1);
insert into public.ring_b values (1, 1);
alter table public.ring_a add foreign key (b) references public.ring_b;
create table public.slots (id int primary key, room int, during tsrange, exclude using gist (during with &&));
insert into public.slots select n, n, tsrange('2026-01-01'::timestamp + n * interval '1 day', '2026-01-01'::timestamp + (n + 1) * interval '1 day')
  from generate_series(1, 30) n;
create sequence public.numbers as smallint start 100 increment 5 cache 3 cycle;
select nextval('public.numbers') from generate_series(1, 4);
create sequence public.unused start 42;

-- Views, materialized views, an updatable one by a trigger, rules.
create view public.people as select p.id, p.nick, u.email from public.profiles p join auth.users u using (id);
create view public.people_safe with (security_invoker = true) as select * from public.profiles;
create view public.nicks as select nick from public.people;
create recursive view public.counting (n) as values (1) union all select n + 1 from counting where n < 5;
create materialized view public.totals as select kind, count(*) from public.events group by kind;
create unique index on public.totals (kind);
create materialized view public.never as select * from public.totals with no data;
create materialized view public.totals_of_totals as select sum(count) from public.totals;
create function public.rename_person() returns trigger language plpgsql as
  $$ begin update profiles set nick = new.nick where id = new.id; return new; end $$;
create trigger renamed instead of update on public.nicks for each row execute function public.rename_person();
create rule quiet as on delete to public.nothing do instead nothing;
create statistics public.event_kinds (dependencies) on day, kind from public.events;

-- Row security in three dialects, for roles that only this project has.
create function public.current_user_id() returns uuid language sql stable as
  $$ select nullif(current_setting('app.current_user_id', true), '')::uuid $$;
alter table public.profiles enable row level security;
create policy "Own profile, 'quoted'" on public.profiles for all to authenticated using (auth.uid() = id) with check (auth.uid() = id);
create policy dialect_two on public.profiles as restrictive for select to anon
  using (id::text = current_setting('request.jwt.claims', true)::json ->> 'sub');
create policy dialect_three on public.profiles for update using (id = public.current_user_id());
create role reporting_team nologin;
create policy reporters on public.profiles for select to reporting_team using (true);
grant select on public.profiles to reporting_team;
grant select (id, nick) on public.profiles to anon;
create policy of_postgres on public.profiles for delete to postgres using (true);
alter table public.logs enable row level security;
alter table public.huge enable row level security;
alter table public.huge force row level security;
create policy everybody on public.huge using (true);

grant select, insert, update, delete on all tables in schema public to anon, authenticated, service_role;
grant usage, select on all sequences in schema public to anon, authenticated, service_role;
alter default privileges in schema public grant all on tables to anon, authenticated, service_role;
alter publication supabase_realtime add table public.profiles, public.logs;
create publication of_the_owner for table public.users where (id > 3);
comment on table public.profiles is 'Who''s who; "quoted" \ and 🌍';
comment on column public.profiles.nick is 'what others call them';
comment on schema "Odd schema" is 'odd';
select lo_from_bytea(0, decode(repeat('00ff', 9000), 'hex'));
