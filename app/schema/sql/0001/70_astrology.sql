-- Charts: computed here, from where and when somebody was born.

create table birth_data (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    name label not null,
    self boolean not null default false,
    born_on date not null,
    born_at time,
    time_zone text not null check (time_zone ~ '^[A-Za-z0-9_+/-]{1,64}$'),
    accuracy text not null default 'unknown' check (accuracy in ('certificate', 'memory', 'rectified', 'unknown')),
    place label not null,
    latitude numeric(8, 5) not null check (latitude between -90 and 90),
    longitude numeric(8, 5) not null check (longitude between -180 and 180),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    check (born_at is not null or accuracy = 'unknown')
);
comment on table birth_data is 'When and where somebody was born: the person, or others whose charts they keep.';
comment on column birth_data.self is 'Whether it is the person''s own.';
comment on column birth_data.born_at is 'Local time; empty where it is not known.';
create unique index on birth_data (user_id) where self;
select pg_temp.own('birth_data');

create table charts (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    birth_id uuid not null,
    kind text not null default 'natal' check (kind in ('natal', 'progressed', 'solar_return', 'lunar_return')),
    zodiac text not null default 'tropical' check (zodiac in ('tropical', 'sidereal')),
    houses text not null default 'placidus' check (houses in ('placidus', 'whole_sign', 'equal', 'koch', 'porphyry')),
    moment timestamptz not null,
    ephemeris label not null,
    created_at timestamptz not null default now(),
    unique (birth_id, kind, zodiac, houses, moment)
);
comment on table charts is 'A chart, and by what it was computed.';
comment on column charts.moment is 'What it is cast for.';
comment on column charts.ephemeris is 'Program and version.';
select pg_temp.own('charts');
select pg_temp.within('charts', 'birth_id', 'birth_data');

create table chart_placements (
    user_id uuid not null references users on delete cascade,
    chart_id uuid not null,
    body slug not null,
    longitude longitude360 not null,
    latitude numeric(8, 6) not null default 0 check (latitude between -90 and 90),
    speed numeric(9, 6) not null default 0,
    sign smallint generated always as (floor(longitude / 30)::smallint + 1) stored,
    retrograde boolean generated always as (speed < 0) stored,
    house smallint check (house between 1 and 12),
    primary key (chart_id, body)
);
comment on table chart_placements is 'Where each body and point stands in a chart.';
comment on column chart_placements.speed is 'Degrees a day.';
comment on column chart_placements.sign is '1 Aries to 12 Pisces; derived.';
select pg_temp.own('chart_placements');
select pg_temp.within('chart_placements', 'chart_id', 'charts');

create table chart_houses (
    user_id uuid not null references users on delete cascade,
    chart_id uuid not null,
    house smallint not null check (house between 1 and 12),
    cusp longitude360 not null,
    primary key (chart_id, house)
);
comment on table chart_houses is 'Where each house begins.';
select pg_temp.own('chart_houses');
select pg_temp.within('chart_houses', 'chart_id', 'charts');

create table chart_aspects (
    user_id uuid not null references users on delete cascade,
    chart_id uuid not null,
    one slug not null,
    other slug not null,
    aspect text not null
        check (aspect in ('conjunction', 'sextile', 'square', 'trine', 'opposition', 'quincunx', 'semisextile')),
    orb numeric(5, 3) not null check (orb between 0 and 15),
    applying boolean not null,
    primary key (chart_id, one, other),
    check (one < other)
);
comment on table chart_aspects is 'Angles between two bodies of a chart.';
comment on column chart_aspects.orb is 'How far from exact, in degrees.';
select pg_temp.own('chart_aspects');
select pg_temp.within('chart_aspects', 'chart_id', 'charts');

create table transits (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    chart_id uuid not null,
    moving slug not null,
    natal slug not null,
    aspect text not null check (aspect in ('conjunction', 'sextile', 'square', 'trine', 'opposition')),
    during tstzrange not null check (not isempty(during)),
    exact_at timestamptz not null,
    check (during @> exact_at)
);
comment on table transits is 'When a moving body meets a place of the chart.';
create index on transits using gist (user_id, during);
select pg_temp.own('transits', at => 'exact_at');
select pg_temp.within('transits', 'chart_id', 'charts');

create table chart_readings (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    chart_id uuid not null,
    title label not null,
    body prose not null,
    element element,
    phase phase_code,
    created_at timestamptz not null default now()
);
comment on table chart_readings is 'What was said of a chart.';
select pg_temp.own('chart_readings');
select pg_temp.within('chart_readings', 'chart_id', 'charts');
