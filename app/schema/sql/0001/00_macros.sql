-- Words in which the files of this version say what belongs to whom. They are gone when the session ends: what they
-- made, policies and triggers and indexes, is what stays.

-- A table whose rows belong to the user (or to the practitioner) whom `owner` names. `verbs`: which of select, insert,
-- update and delete the owner may do.
create function pg_temp.own(t regclass, verbs text default 'siud', owner text default 'user_id', at text default 'created_at')
returns void language plpgsql as $$
declare
    mine text := format('%I = (select auth.uid())', owner);
begin
    if verbs ~ 's' then
        execute format('create policy own_select on %s for select to authenticated using (%s)', t, mine);
    end if;
    if verbs ~ 'i' then
        execute format('create policy own_insert on %s for insert to authenticated with check (%s)', t, mine);
    end if;
    if verbs ~ 'u' then
        execute format('create policy own_update on %s for update to authenticated using (%s) with check (%s)', t, mine, mine);
    end if;
    if verbs ~ 'd' then
        execute format('create policy own_delete on %s for delete to authenticated using (%s)', t, mine);
    end if;
    if exists (select from pg_attribute where attrelid = t and attname = at and not attisdropped) then
        execute format('create index on %s (%I, %I desc)', t, owner, at);
    end if;
end
$$;

-- A table that everybody may read and that only the appliance writes.
create function pg_temp.reference(t regclass, anonymous boolean default false) returns void language plpgsql as $$
begin
    execute format('create policy all_select on %s for select to authenticated%s using (true)', t,
                   case when anonymous then ', anon' else '' end);
end
$$;

-- A row of `child` lies within a row of `parent` that belongs to the same owner: nobody hangs a row on somebody
-- else's, nor learns by trying whether there is one.
create function pg_temp.within(child regclass, link text, parent regclass, gone text default 'cascade', owner text default 'user_id')
returns void language plpgsql as $$
declare
    name text := (select relname from pg_class where oid = parent);
begin
    if not exists (select from pg_constraint where conrelid = parent and conname = format('%s_id_%s_key', name, owner)) then
        execute format('alter table %s add constraint %I unique (id, %I)', parent, format('%s_id_%s_key', name, owner), owner);
    end if;
    execute format('alter table %s add foreign key (%I, %I) references %s (id, %I) on delete %s', child, link, owner, parent, owner,
                   case gone when 'set null' then format('set null (%I)', link) else gone end);
end
$$;

-- Every change of a row goes to the log, in the chain of whomever `tenant` names.
create function pg_temp.logged(t regclass, tenant text default 'user_id') returns void language plpgsql as $$
begin
    execute format('create trigger log_change after insert or update or delete on %s'
                   ' for each row execute function maia.log_change(%L)', t, tenant);
end
$$;

-- People may update, or insert, these columns alone; the others are their defaults' or the appliance's.
create function pg_temp.only(t regclass, columns text, verb text default 'update') returns void language plpgsql as $$
begin
    execute format('revoke %s on %s from authenticated', verb, t);
    execute format('grant %s (%s) on %s to authenticated', verb, columns, t);
end
$$;

-- What holds for every table of the schema, made so at the end.
create function pg_temp.finish() returns void language plpgsql as $$
declare
    item record;
    verb record;
begin
    -- Grants follow from policies: they cannot disagree.
    for item in
        select format('grant %s on %s to %s',
                      case p.polcmd when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update' else 'delete' end,
                      p.polrelid::regclass, string_agg(distinct r.role::regrole::text, ', ')) as statement
        from pg_policy p cross join unnest(p.polroles) as r (role)
        where p.polrelid in (select oid from pg_class where relnamespace = 'maia'::regnamespace)
          and p.polpermissive and r.role::regrole::text in ('anon', 'authenticated')
        group by p.polrelid, p.polcmd
    loop
        execute item.statement;
    end loop;
    for item in
        select oid::regclass as name, oid, relname, relkind from pg_class
        where relnamespace = 'maia'::regnamespace and relkind in ('r', 'p') order by relname
    loop
        execute format('alter table %s enable row level security, force row level security', item.name);
        execute format('grant select, insert, update, delete on %s to service_role', item.name);
        -- A verb that no policy opens is closed on purpose, and stays so beside any policy that is added later.
        for verb in
            select name from (values ('select', 'r'), ('insert', 'a'), ('update', 'w'), ('delete', 'd')) as verbs (name, command)
            where not exists (
                select from pg_policy p
                where p.polrelid = item.oid and p.polcmd = verbs.command::"char" and p.polpermissive
                  and 'authenticated'::regrole = any (p.polroles))
        loop
            execute format('create policy closed_%s on %s as restrictive for %s to anon, authenticated %s (false)', verb.name,
                           item.name, verb.name, case verb.name when 'insert' then 'with check' else 'using' end);
        end loop;
        if exists (select from pg_attribute where attrelid = item.oid and attname = 'updated_at') then
            execute format('create trigger touch before update on %s for each row execute function maia.touch()', item.name);
        end if;
        -- What comes with the service key passes by the policies, so it is written down.
        if not exists (select from pg_trigger where tgrelid = item.oid and tgname = 'log_change')
           and item.relname not in ('change_log', 'change_heads') then
            execute format(
                'create trigger log_service after insert or update or delete on %s for each row'
                ' when (current_user = ''service_role'') execute function maia.log_change(%L)', item.name,
                coalesce((select attname::text from pg_attribute where attrelid = item.oid
                          and attname in ('user_id', 'practitioner_id', 'author_id') order by attname desc limit 1), ''));
        end if;
    end loop;
    -- A foreign key without an index makes the removal of what it points to read the whole table.
    for item in
        select c.conrelid::regclass as name,
               (select string_agg(quote_ident(a.attname), ', ' order by k.place) from unnest(c.conkey) with ordinality as k (number, place)
                join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.number) as columns
        from pg_constraint c
        where c.contype = 'f' and c.connamespace = 'maia'::regnamespace
          and not exists (
            select from pg_index i where i.indrelid = c.conrelid and i.indpred is null
            and i.indkey[0] = c.conkey[1]
            and (cardinality(c.conkey) = 1 or (i.indnkeyatts > 1 and i.indkey[1] = any (c.conkey))))
        order by 1, 2
    loop
        execute format('create index on %s (%s)', item.name, item.columns);
    end loop;
end
$$;

-- Columns that mean the same wherever they stand.
create function pg_temp.explain_common() returns void language plpgsql as $$
declare
    item record;
begin
    for item in
        select c.oid::regclass as name, a.attname as attribute, w.about
        from pg_attribute a join pg_class c on c.oid = a.attrelid join (values
            ('id', 'Its key.'),
            ('user_id', 'Whom the row belongs to.'),
            ('author_id', 'Who wrote it; empty once that person is gone.'),
            ('practitioner_id', 'The practitioner whose practice it is part of.'),
            ('client_id', 'The client it is about, of the same practitioner.'),
            ('created_at', 'When the row was made.'),
            ('updated_at', 'When the row was last changed; kept by a trigger.'),
            ('element', 'Fire, Water, Earth, Air or Aether, in small letters.'),
            ('phase', 'Code of the phase of the Spiralogic, F1 to A3.'),
            ('archetype', 'The archetype, a free word.'),
            ('key_id', 'The sealing key that the header names; derived.'),
            ('detail', 'What has no column of its own, as an object.')
        ) as w (attname, about) on w.attname = a.attname
        where c.relnamespace = 'maia'::regnamespace and c.relkind in ('r', 'p') and a.attnum > 0 and not a.attisdropped
          and col_description(a.attrelid, a.attnum) is null
    loop
        execute format('comment on column %s.%I is %L', item.name, item.attribute, item.about);
    end loop;
end
$$;
