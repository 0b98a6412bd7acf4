-- What practitioners wrote in the clear before it came here. A service encrypts it at once, with a key outside the
-- database, and it waits like that until its author opens it next: then the client seals it.

create domain handed as bytea check (
    octet_length(value) between 50 and 16777216
    and substring(value from 1 for 4) = '\x4d414945'::bytea and get_byte(value, 4) = 1 and get_byte(value, 5) = 1);
comment on domain handed is 'Ciphertext made by a service, of what its author has yet to seal.';

-- A table whose sealed column may wait: a row has the one or the other, and nobody but a service writes the other.
create function pg_temp.handed(t regclass, content text) returns void language plpgsql as $$
begin
    execute format('alter table %s alter column %I drop not null, alter column key_id drop not null,'
                   ' add column handed handed, add check (num_nonnulls(%I, handed) = 1)', t, content, content);
    execute format('comment on column %s.handed is %L', t, 'What the sealed column will hold, encrypted by a service until'
                   ' its author opens it next; empty since then.');
    execute format('create index on %s (practitioner_id) where handed is not null', t);
    execute format('create policy sealed_insert on %s as restrictive for insert to authenticated with check (handed is null)', t);
    execute format('create policy sealed_update on %s as restrictive for update to authenticated using (true)'
                   ' with check (handed is null)', t);
end
$$;
select pg_temp.handed('clinical_clients', 'identity');
select pg_temp.handed('session_notes', 'content');
select pg_temp.handed('clinical_assessments', 'content');
select pg_temp.handed('treatment_plans', 'content');
select pg_temp.handed('outcome_measurements', 'content');
select pg_temp.handed('supervision_sessions', 'content');

-- A signed note is not changed, but for being sealed.
create policy seal_update on session_notes for update to authenticated
    using (practitioner_id = (select auth.uid()) and handed is not null) with check (practitioner_id = (select auth.uid()));

create view awaiting_seal with (security_invoker = true) as
select 'clinical_clients' as table_name, id, practitioner_id from clinical_clients where handed is not null
union all select 'session_notes', id, practitioner_id from session_notes where handed is not null
union all select 'clinical_assessments', id, practitioner_id from clinical_assessments where handed is not null
union all select 'treatment_plans', id, practitioner_id from treatment_plans where handed is not null
union all select 'outcome_measurements', id, practitioner_id from outcome_measurements where handed is not null
union all select 'supervision_sessions', id, practitioner_id from supervision_sessions where handed is not null;
comment on view awaiting_seal is 'What a client has yet to seal: of the one who asks.';
grant select on awaiting_seal to authenticated, service_role;
