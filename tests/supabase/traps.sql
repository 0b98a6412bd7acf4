-- What real projects have broken, and what of theirs cannot come over. Run by the project's owner.
-- Functions that rely on a search_path, in the places where a dump that is loaded with an empty one meets them.
create function public.plain_name(t text) returns text language plpgsql immutable as
  $$ begin return shorten(t); end $$;
create function public.shorten(t text) returns text language sql immutable as $$ select left(t, 10) $$;
create table public.checked (id int primary key, note text check (plain_name(note) <> 'bad'), stamp text default plain_name('default value'));
create index checked_plain on public.checked (plain_name(note));
insert into public.checked (id, note) select n, 'note number ' || n from generate_series(1, 30) n;
create view public.shortened as select id, plain_name(note) as note from public.checked;
create function public.make_profile() returns trigger language plpgsql security definer as
  $$ begin insert into profiles (id) values (new.id) on conflict do nothing; return new; end $$;

-- They compile, and fail when they are called.
create function public.missing_table() returns bigint language plpgsql as $$ begin return (select count(*) from nowhere.nothing); end $$;
create function public.missing_function() returns int language plpgsql as $$ begin return frobnicate(1); end $$;
set check_function_bodies = off;
create function public.broken_sql() returns bigint language sql as $$ select count(*) from gone_table $$;
create function public.broken_body() returns int language plpgsql as $$ begin this is not sql; end $$;
set check_function_bodies = on;
create table public.short_lived (id int);
create function public.of_a_dropped_table() returns setof text language plpgsql as
  $$ declare r record; begin for r in select * from short_lived loop return next r.id; end loop; end $$;
drop table public.short_lived;

-- A trigger that always fails, one that is switched off, one that calls out of the machine.
create table public.trapped (id int primary key, note text);
insert into public.trapped select n, 'n' || n from generate_series(1, 20) n;
create function public.always_fails() returns trigger language plpgsql as $$ begin raise exception 'never'; end $$;
create trigger always_fails before insert or update on public.trapped for each row execute function public.always_fails();
create function public.stamps() returns trigger language plpgsql as $$ begin new.note := 'stamped'; return new; end $$;
create trigger stamps before insert or update on public.checked for each row execute function public.stamps();
create trigger switched_off after update on public.trapped for each row execute function public.stamps();
alter table public.trapped disable trigger switched_off;
create trigger hook after insert on public.trapped for each row execute function supabase_functions.http_request();
create function public.calls_out() returns bigint language sql as $$ select net.http_post('https://example.org', '{}') $$;

-- A table, a view and a default that hang on what stays behind.
create table public.hooks (id int primary key default 1, subscription bigint, request bigint default net.http_post('x', '{}'));
insert into public.hooks values (1, 1, 1);
create view public.secret_names as select name from vault.secrets;

-- Row security on and no policy; a constraint that was never validated, and is broken.
create table public.shut (id int primary key);
insert into public.shut values (1), (2);
alter table public.shut enable row level security;
create table public.parents (id int primary key);
create table public.orphans (id int primary key, parent int);
insert into public.parents values (1);
insert into public.orphans values (1, 1), (2, 99);
alter table public.orphans add constraint orphans_parent_fkey foreign key (parent) references public.parents not valid;
alter table public.orphans add constraint positive check (parent < 50) not valid;
-- One that was broken behind its back, as a replica role or a restore does it.
create table public.strays (id int primary key, parent int constraint strays_parent_fkey references public.parents);
