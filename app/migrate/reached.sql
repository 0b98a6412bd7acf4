-- How far an end's changes were written here, noted in the transaction that wrote them.
create schema if not exists maia_migrate;
create table if not exists maia_migrate.reached (
  slot text primary key,
  lsn pg_lsn not null
);
