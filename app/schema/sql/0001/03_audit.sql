-- The log of changes: each entry's hash covers the one before it, so none can be altered, dropped or slipped in without
-- breaking its chain. Every tenant has a chain of their own, so that one practice does not wait for another.

create table change_heads (
    chain uuid primary key,
    entries bigint not null default 0 check (entries >= 0),
    hash digest not null default sha256('')
);
comment on table change_heads is 'The end of each chain: how long it is and its last hash.';
comment on column change_heads.chain is 'Whose chain: a user or practitioner; the nil identity where a row is nobody''s.';
comment on column change_heads.hash is 'Hash of the last entry. Kept elsewhere too, it proves that nothing was cut off.';

create table change_log (
    chain uuid not null,
    number bigint not null check (number > 0),
    at timestamptz not null,
    actor uuid,
    role text not null,
    table_name text not null,
    row_key text not null,
    verb text not null check (verb in ('INSERT', 'UPDATE', 'DELETE')),
    columns text[] not null,
    row_digest digest,
    hash digest not null,
    primary key (chain, number)
);
comment on table change_log is 'What was changed, when and by whom. It holds no content: a digest says what the row became.';
comment on column change_log.actor is 'auth.uid() at that moment.';
comment on column change_log.role is 'The database role that did it: service_role is a service, postgres a person at the machine.';
comment on column change_log.row_key is 'The row''s key; several columns as a JSON array.';
comment on column change_log.columns is 'What an update changed.';
comment on column change_log.row_digest is 'SHA-256 of the row as JSON without its empty columns; empty once it is deleted.';
comment on column change_log.hash is 'SHA-256 of the hash before it and of this entry.';
create index on change_log (table_name, row_key, at desc);
create policy own_select on change_log for select to authenticated using (chain = (select auth.uid()));
create policy owner_all on change_log to maia_owner using (true) with check (true);
create policy owner_all on change_heads to maia_owner using (true) with check (true);

create function change_hash(previous bytea, entry change_log) returns bytea
language sql stable parallel safe set search_path = '' set timezone = 'UTC' as $$
    select sha256(previous || convert_to(jsonb_build_array(
        entry.chain, entry.number, entry.at, entry.actor, entry.role, entry.table_name, entry.row_key, entry.verb,
        entry.columns, encode(entry.row_digest, 'hex'))::text, 'UTF8'))
$$;
comment on function change_hash is 'What an entry''s hash must be after the one given.';

create function row_image(image jsonb) returns bytea
language sql immutable parallel safe set search_path = '' as $$
    select sha256(convert_to(jsonb_strip_nulls(image)::text, 'UTF8'))
$$;
comment on function row_image is 'Digest of a row. A column that is added later and empty does not change it.';

create function row_key(image jsonb, of regclass) returns text
language sql stable parallel safe set search_path = '' as $$
    select case when count(*) = 1 then min(image ->> a.attname) else jsonb_agg(image -> a.attname order by k.place)::text end
    from pg_catalog.pg_index i cross join unnest(i.indkey::smallint[]) with ordinality as k (number, place)
    join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.number
    where i.indrelid = of and i.indisprimary
$$;
comment on function row_key is 'The primary key of a row, as one text.';

-- Digests must not depend on how a session likes its values to be written.
create function log_change() returns trigger language plpgsql security definer
set search_path = '' set timezone = 'UTC' set bytea_output = 'hex' set extra_float_digits = 1 set intervalstyle = 'iso_8601' as $$
declare
    earlier jsonb := case when tg_op <> 'INSERT' then to_jsonb(old) end;
    later jsonb := case when tg_op <> 'DELETE' then to_jsonb(new) end;
    head maia.change_heads;
    entry maia.change_log;
begin
    if earlier = later then
        return null;
    end if;
    entry.chain := coalesce(nullif(coalesce(later, earlier) ->> tg_argv[0], ''), '00000000-0000-0000-0000-000000000000');
    insert into maia.change_heads (chain) values (entry.chain) on conflict do nothing;
    select * into head from maia.change_heads h where h.chain = entry.chain for update;
    entry.number := head.entries + 1;
    entry.at := clock_timestamp();
    entry.actor := auth.uid();
    entry.role := coalesce(nullif(current_setting('role'), 'none'), session_user);
    entry.table_name := tg_table_name;
    entry.row_key := maia.row_key(coalesce(later, earlier), tg_relid);
    entry.verb := tg_op;
    entry.columns := array(
        select key from jsonb_each(case when tg_op = 'UPDATE' then later end)
        where value is distinct from earlier -> key order by key);
    entry.row_digest := maia.row_image(later);
    entry.hash := maia.change_hash(head.hash, entry);
    insert into maia.change_log values (entry.*);
    update maia.change_heads h set entries = entry.number, hash = entry.hash where h.chain = entry.chain;
    return null;
end
$$;
comment on function log_change is 'Adds what happened to a row to the chain that its argument names a column of.';

create function broken_chains() returns table (chain uuid, number bigint, fault text)
language sql stable set search_path = '' as $$
    with linked as (
        select l.*, lag(l.hash, 1, sha256('')) over chain as previous, lag(l.number, 1, 0::bigint) over chain as before
        from maia.change_log l window chain as (partition by l.chain order by l.number)
    )
    select l.chain, l.number, 'an entry before it is missing' from linked l where l.number <> l.before + 1
    union all
    select l.chain, l.number, 'its hash is not that of its content' from linked l
    where l.hash <> maia.change_hash(l.previous, (l.chain, l.number, l.at, l.actor, l.role, l.table_name, l.row_key, l.verb,
                                                  l.columns, l.row_digest, l.hash)::maia.change_log)
    union all
    select coalesce(h.chain, e.chain), e.number, 'it does not end where its head says' from maia.change_heads h
    full join (select distinct on (chain) chain, number, hash from maia.change_log order by chain, number desc) e
        on e.chain = h.chain
    where (coalesce(e.number, 0), coalesce(e.hash, sha256(''))) is distinct from (h.entries, h.hash::bytea)
    order by 1, 2
$$;
comment on function broken_chains is 'Where the log was altered. Empty: nowhere.';

create function changed_unlogged() returns table (table_name text, row_key text, fault text)
language plpgsql stable set search_path = '' set timezone = 'UTC' set bytea_output = 'hex' set extra_float_digits = 1
set intervalstyle = 'iso_8601' as $$
declare
    logged record;
begin
    for logged in
        select c.oid, c.relname::text as name from pg_catalog.pg_trigger t join pg_catalog.pg_class c on c.oid = t.tgrelid
        where t.tgname = 'log_change' and c.relnamespace = 'maia'::regnamespace order by 2
    loop
        return query execute format($query$
            select %1$L::text, coalesce(l.row_key, r.row_key), case
                when r.row_key is null then 'deleted past the log'
                when l.row_key is null or l.row_digest is null then 'written past the log'
                else 'changed past the log' end
            from (select distinct on (row_key) row_key, row_digest from maia.change_log where table_name = %1$L
                  order by row_key, at desc, number desc) l
            full join (select maia.row_key(to_jsonb(t), %2$s) as row_key, maia.row_image(to_jsonb(t)) as digest from maia.%1$I t) r
                on r.row_key = l.row_key
            where l.row_digest is distinct from r.digest$query$, logged.name, logged.oid);
    end loop;
end
$$;
comment on function changed_unlogged is 'Rows of logged tables that are not what their last entry says: somebody passed by the triggers.';

create function change_root() returns bytea language sql stable set search_path = '' as $$
    select sha256(coalesce(string_agg(uuid_send(chain) || int8send(entries) || hash, ''::bytea order by chain), ''))
    from maia.change_heads
$$;
comment on function change_root is 'One digest over the ends of all chains, to be kept outside the database.';
