-- What only the platform's superuser can break.
set session_replication_role = replica;
insert into public.strays values (1, 1), (2, 77), (3, 88);
reset session_replication_role;
create trigger on_auth_user_created after insert on auth.users for each row execute function public.make_profile();
-- Policies on what the platform owns.
create policy "files of one's own" on storage.objects for select to authenticated
  using (bucket_id = 'user-files' and (storage.foldername(name))[1] = auth.uid()::text);
-- A key that is not one any more, as a change of collation leaves it.
create table public.doubled (id int, note text);
insert into public.doubled values (1, 'a'), (2, 'b'), (2, 'c');
alter table public.doubled owner to postgres;
create unique index doubled_id_key on public.doubled (id) where id < 2;
update pg_index set indpred = null where indexrelid = 'public.doubled_id_key'::regclass;
-- Nobody may read it but the platform.
create table public.closed (id int primary key);
revoke all on public.closed from public, postgres;
