-- Where following the source stands: from its first slot to the end of the way back.
create table if not exists maia_migrate.following (
  one boolean primary key default true check (one),
  state text not null check (state in (
    'joining', 'following', 'freezing', 'frozen', 'turning', 'serving', 'returning', 'opening', 'returned', 'final')),
  slotted boolean not null default true,
  why text not null default '',
  by_hand boolean not null default false,
  way_back boolean not null default true,
  altered text[] not null default '{}',
  behind bigint,
  held bigint,
  latest timestamptz,
  seen_at timestamptz,
  verified_at timestamptz,
  served_since timestamptz
);
comment on column maia_migrate.following.slotted is 'Whether changes come through a slot; all tables are compared again and again where they do not, and why.';
comment on column maia_migrate.following.by_hand is 'Whether a person answers for what cannot be frozen, or opened again, from here.';
comment on column maia_migrate.following.behind is 'Bytes of WAL that were not read yet when it was looked last; held: that the slot kept from being removed.';
comment on column maia_migrate.following.altered is 'What is not the same and that nothing which follows rows brings over.';
create table if not exists maia_migrate.compared (
  slot text,
  name text,
  why text not null,
  primary key (slot, name)
);
comment on table maia_migrate.compared is 'Tables that a slot does not tell of, and why.';
create or replace function maia_migrate.refuse() returns trigger language plpgsql set search_path = pg_catalog as
  $$ begin raise exception 'the table is followed from another database' using errcode = '25006',
    hint = 'maia migrate status'; end $$;
