-- People together: circles, what they say to each other, when they meet.

create table groups (
    id uuid primary key default uuid7(),
    slug slug not null unique,
    title label not null,
    about prose,
    visibility text not null default 'private' check (visibility in ('open', 'listed', 'private')),
    element element,
    created_by uuid references users on delete set null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
comment on table groups is 'A circle of people.';
comment on column groups.visibility is 'open: anybody joins; listed: anybody finds it; private: its members alone know of it.';

create table group_members (
    group_id uuid not null references groups on delete cascade,
    user_id uuid not null references users on delete cascade,
    role text not null default 'member' check (role in ('member', 'host')),
    joined_at timestamptz not null default now(),
    primary key (group_id, user_id)
);
comment on table group_members is 'Who is in which circle.';
comment on column group_members.role is 'A host admits, removes and tends the circle.';
create policy owner_select on group_members for select to maia_owner using (true);
create policy owner_insert on group_members for insert to maia_owner with check (true);

create function my_groups() returns setof uuid
language sql stable security definer parallel safe set search_path = '' as $$
    select m.group_id from maia.group_members m where m.user_id = (select auth.uid())
$$;
comment on function my_groups is 'The circles of the one who asks. In policies: group_id in (select my_groups()).';
create function my_hosted_groups() returns setof uuid
language sql stable security definer parallel safe set search_path = '' as $$
    select m.group_id from maia.group_members m where m.user_id = (select auth.uid()) and m.role = 'host'
$$;
comment on function my_hosted_groups is 'The circles that the one who asks is host of.';

create policy seen_select on groups for select to authenticated
    using (visibility <> 'private' or created_by = (select auth.uid()) or id in (select my_groups()));
create policy own_insert on groups for insert to authenticated with check (created_by = (select auth.uid()));
create policy host_update on groups for update to authenticated
    using (id in (select my_hosted_groups())) with check (id in (select my_hosted_groups()));
create policy host_delete on groups for delete to authenticated using (id in (select my_hosted_groups()));

create policy seen_select on group_members for select to authenticated
    using (user_id = (select auth.uid()) or group_id in (select my_groups()));
create policy join_insert on group_members for insert to authenticated with check (
    user_id = (select auth.uid()) and role = 'member'
    and group_id in (select g.id from groups g where g.visibility = 'open'));
create policy host_update on group_members for update to authenticated
    using (group_id in (select my_hosted_groups())) with check (group_id in (select my_hosted_groups()));
create policy leave_delete on group_members for delete to authenticated
    using (user_id = (select auth.uid()) or group_id in (select my_hosted_groups()));

create function found_group() returns trigger language plpgsql security definer set search_path = '' as $$
begin
    if new.created_by is not null then
        insert into maia.group_members (group_id, user_id, role) values (new.id, new.created_by, 'host');
    end if;
    return null;
end
$$;
comment on function found_group is 'Who founds a circle is its first host.';
create trigger found_group after insert on groups for each row execute function found_group();

create table group_invitations (
    id uuid primary key default uuid7(),
    group_id uuid not null references groups on delete cascade,
    user_id uuid not null references users on delete cascade,
    invited_by uuid not null references users on delete cascade,
    created_at timestamptz not null default now(),
    answered_at timestamptz,
    accepted boolean,
    unique (group_id, user_id),
    check ((answered_at is null) = (accepted is null))
);
comment on table group_invitations is 'Somebody is asked into a circle by a host of it.';
create policy seen_select on group_invitations for select to authenticated
    using (user_id = (select auth.uid()) or invited_by = (select auth.uid()));
create policy host_insert on group_invitations for insert to authenticated with check (
    invited_by = (select auth.uid()) and group_id in (select my_hosted_groups()) and answered_at is null);
create policy host_delete on group_invitations for delete to authenticated using (invited_by = (select auth.uid()));
create policy owner_all on group_invitations to maia_owner using (true) with check (true);

create function answer_invitation(invitation uuid, accept boolean) returns void
language plpgsql security definer set search_path = '' as $$
declare
    found maia.group_invitations;
begin
    update maia.group_invitations i set answered_at = now(), accepted = accept
    where i.id = invitation and i.user_id = (select auth.uid()) and i.answered_at is null returning * into found;
    if found.id is null then
        raise no_data_found using message = 'no such invitation';
    end if;
    if accept then
        insert into maia.group_members (group_id, user_id) values (found.group_id, found.user_id) on conflict do nothing;
    end if;
end
$$;
comment on function answer_invitation is 'Accept or decline, by the person who was asked.';

create table community_channels (
    id uuid primary key default uuid7(),
    group_id uuid references groups on delete cascade,
    slug slug not null,
    title label not null,
    about prose,
    element element,
    place smallint not null default 0,
    created_at timestamptz not null default now(),
    unique nulls not distinct (group_id, slug)
);
comment on table community_channels is 'A forum: of a circle, or of everybody.';
comment on column community_channels.group_id is 'The circle; empty: everybody''s.';
create policy seen_select on community_channels for select to authenticated
    using (group_id is null or group_id in (select my_groups()));
create policy host_insert on community_channels for insert to authenticated with check (group_id in (select my_hosted_groups()));
create policy host_update on community_channels for update to authenticated
    using (group_id in (select my_hosted_groups())) with check (group_id in (select my_hosted_groups()));
create policy host_delete on community_channels for delete to authenticated using (group_id in (select my_hosted_groups()));

create table community_threads (
    id uuid primary key default uuid7(),
    channel_id uuid not null references community_channels on delete cascade,
    author_id uuid references users on delete set null,
    title label not null,
    body prose not null,
    pinned boolean not null default false,
    locked boolean not null default false,
    hidden boolean not null default false,
    last_reply_at timestamptz not null default now(),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
comment on table community_threads is 'A topic in a forum.';
comment on column community_threads.hidden is 'Taken out of sight by a moderator.';
create index on community_threads (channel_id, last_reply_at desc) where not hidden;

create table community_replies (
    id uuid primary key default uuid7(),
    thread_id uuid not null references community_threads on delete cascade,
    author_id uuid references users on delete set null,
    answers uuid references community_replies on delete set null,
    body prose not null,
    hidden boolean not null default false,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
comment on table community_replies is 'What is said to a topic.';
comment on column community_replies.answers is 'The reply that this one answers.';
create index on community_replies (thread_id, created_at);

create table community_reactions (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    thread_id uuid references community_threads on delete cascade,
    reply_id uuid references community_replies on delete cascade,
    kind text not null check (kind in ('heart', 'resonates', 'thanks', 'witnessed', 'question')),
    created_at timestamptz not null default now(),
    check (num_nonnulls(thread_id, reply_id) = 1),
    unique nulls not distinct (user_id, thread_id, reply_id, kind)
);
comment on table community_reactions is 'A sign on a topic or a reply.';

-- Who sees the forum sees its topics, who sees a topic its replies: the policies of the one are the other's.
create policy seen_select on community_threads for select to authenticated using (
    (not hidden or author_id = (select auth.uid())) and channel_id in (select c.id from community_channels c));
create policy own_insert on community_threads for insert to authenticated with check (
    author_id = (select auth.uid()) and not pinned and not locked and not hidden
    and channel_id in (select c.id from community_channels c));
create policy own_update on community_threads for update to authenticated
    using (author_id = (select auth.uid()) and not locked)
    with check (author_id = (select auth.uid()) and channel_id in (select c.id from community_channels c));
create policy own_delete on community_threads for delete to authenticated using (author_id = (select auth.uid()));
create policy seen_select on community_replies for select to authenticated using (
    (not hidden or author_id = (select auth.uid())) and exists (select from community_threads t where t.id = thread_id));
create policy own_insert on community_replies for insert to authenticated with check (
    author_id = (select auth.uid()) and not hidden
    and exists (select from community_threads t where t.id = thread_id and not t.locked));
create policy own_update on community_replies for update to authenticated
    using (author_id = (select auth.uid()))
    with check (author_id = (select auth.uid()) and exists (select from community_threads t where t.id = thread_id));
create policy own_delete on community_replies for delete to authenticated using (author_id = (select auth.uid()));
create policy seen_select on community_reactions for select to authenticated using (
    user_id = (select auth.uid()) or exists (select from community_threads t where t.id = thread_id)
    or exists (select from community_replies r where r.id = reply_id));
create policy own_insert on community_reactions for insert to authenticated with check (
    user_id = (select auth.uid()) and (exists (select from community_threads t where t.id = thread_id)
    or exists (select from community_replies r where r.id = reply_id)));
create policy own_delete on community_reactions for delete to authenticated using (user_id = (select auth.uid()));

create table community_profiles (
    user_id uuid primary key references users on delete cascade,
    name label not null,
    about prose,
    element element,
    archetype archetype,
    visibility text not null default 'private' check (visibility in ('community', 'private')),
    updated_at timestamptz not null default now()
);
comment on table community_profiles is 'How a person shows themselves to others, if they do.';
create policy seen_select on community_profiles for select to authenticated
    using (visibility = 'community' or user_id = (select auth.uid()));
select pg_temp.own('community_profiles', 'iud');

create table community_presence (
    user_id uuid primary key references users on delete cascade,
    group_id uuid references groups on delete set null,
    state text not null default 'here' check (state in ('here', 'quiet', 'away')),
    seen_at timestamptz not null default now()
);
comment on table community_presence is 'Who is there now. Seen by the circle they are in.';
create policy seen_select on community_presence for select to authenticated
    using (user_id = (select auth.uid()) or group_id in (select my_groups()));
create policy own_insert on community_presence for insert to authenticated
    with check (user_id = (select auth.uid()) and (group_id is null or group_id in (select my_groups())));
create policy own_update on community_presence for update to authenticated using (user_id = (select auth.uid()))
    with check (user_id = (select auth.uid()) and (group_id is null or group_id in (select my_groups())));
create policy own_delete on community_presence for delete to authenticated using (user_id = (select auth.uid()));

create table community_sessions (
    id uuid primary key default uuid7(),
    group_id uuid not null references groups on delete cascade,
    title label not null,
    about prose,
    during tstzrange not null check (not isempty(during) and not lower_inf(during) and not upper_inf(during)),
    capacity smallint check (capacity > 0),
    created_at timestamptz not null default now(),
    exclude using gist (group_id with =, during with &&)
);
comment on table community_sessions is 'When a circle meets. It cannot meet twice at once.';
create policy seen_select on community_sessions for select to authenticated using (group_id in (select my_groups()));
create policy host_insert on community_sessions for insert to authenticated with check (group_id in (select my_hosted_groups()));
create policy host_update on community_sessions for update to authenticated
    using (group_id in (select my_hosted_groups())) with check (group_id in (select my_hosted_groups()));
create policy host_delete on community_sessions for delete to authenticated using (group_id in (select my_hosted_groups()));

create table community_session_attendees (
    session_id uuid not null references community_sessions on delete cascade,
    user_id uuid not null references users on delete cascade,
    answer text not null default 'yes' check (answer in ('yes', 'maybe', 'no')),
    attended boolean,
    primary key (session_id, user_id)
);
comment on table community_session_attendees is 'Who comes to a meeting.';
create policy seen_select on community_session_attendees for select to authenticated
    using (user_id = (select auth.uid()) or session_id in (select s.id from community_sessions s));
create policy own_insert on community_session_attendees for insert to authenticated
    with check (user_id = (select auth.uid()) and session_id in (select s.id from community_sessions s));
create policy own_update on community_session_attendees for update to authenticated using (user_id = (select auth.uid()))
    with check (user_id = (select auth.uid()) and session_id in (select s.id from community_sessions s));
create policy own_delete on community_session_attendees for delete to authenticated using (user_id = (select auth.uid()));
