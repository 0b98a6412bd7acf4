-- What was adopted. It lies where the migration's journal does, and is written in the transaction that adopts.
create schema if not exists maia_migrate;
create table if not exists maia_migrate.adopted (
  name text not null,
  source text not null,
  target text not null,
  taken bigint not null,
  said bigint not null,
  became bytea not null,
  at timestamptz not null default now(),
  primary key (name, source)
);
comment on table maia_migrate.adopted is 'Each row that was adopted, by the name of its map.';
comment on column maia_migrate.adopted.source is 'Its key in public.';
comment on column maia_migrate.adopted.target is 'Its key in maia, as the log of changes writes it.';
comment on column maia_migrate.adopted.taken is 'A hash of what was taken, without what became ciphertext.';
comment on column maia_migrate.adopted.said is 'A hash of what it says, the same on both sides.';
comment on column maia_migrate.adopted.became is 'The digest of the row that it became.';
