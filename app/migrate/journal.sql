-- Where a migration stands. It lies in the database that it fills, so that a step and the note of it are one transaction:
-- whatever is killed when, both are there or neither.
create schema if not exists maia_migrate;
comment on schema maia_migrate is 'The migration into this database: how far it is, and what became of each object.';
create table maia_migrate.run (
  one boolean primary key default true check (one),
  id uuid not null default gen_random_uuid(),
  source text not null,
  selection jsonb not null,
  plan jsonb not null,
  state text not null default 'schema' check (state in ('schema', 'rows', 'indexes', 'rest', 'copied')),
  path text not null,
  snapshot text,
  lsn pg_lsn,
  began_at timestamptz not null default now(),
  copied_at timestamptz
);
create table maia_migrate.objects (
  number int primary key,
  place int not null,
  kind text not null,
  schema text not null,
  name text not null,
  needs int[] not null,
  early boolean not null,
  text text not null,
  change boolean not null,
  outcome text check (outcome in ('moved', 'changed', 'left')),
  why text not null default ''
);
comment on column maia_migrate.objects.change is 'Whether its text is another one than the source''s.';
comment on column maia_migrate.objects.place is 'Where it stands in an order in which all can be made.';
create table maia_migrate.beside (
  kind text not null,
  name text not null,
  outcome text not null,
  why text not null
);
create table maia_migrate.tables (
  oid oid primary key,
  schema text not null,
  name text not null,
  bytes bigint not null,
  fault text not null default ''
);
create table maia_migrate.parts (
  oid oid references maia_migrate.tables,
  number int,
  first bigint not null,
  past bigint,
  snapshot text,
  rows bigint,
  primary key (oid, number)
);
comment on column maia_migrate.parts.first is 'The first page of the source''s table; past is the page behind the last one, none where it is open.';
comment on column maia_migrate.parts.snapshot is 'What the source''s transactions were when it was copied; none while it is not.';
