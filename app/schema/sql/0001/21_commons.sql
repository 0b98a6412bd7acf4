-- What everybody shares: the Commons, wisdom contributed, help between peers.

create table commons_standing (
    user_id uuid primary key references users on delete cascade,
    level cognitive_level not null,
    turns count not null,
    updated_at timestamptz not null default now()
);
comment on table commons_standing is 'Whether a person may post to the Commons. Written by the appliance from their turns.';
comment on column commons_standing.level is 'Mean level of the last turns; posting asks for 4.0.';
comment on column commons_standing.turns is 'Over how many turns; posting asks for 20.';
select pg_temp.own('commons_standing', 's');

create function may_post() returns boolean language sql stable parallel safe set search_path = '' as $$
    select exists (select from maia.commons_standing s where s.user_id = (select auth.uid()) and s.level >= 4 and s.turns >= 20)
$$;
comment on function may_post is 'Whether the one who asks may post to the Commons.';

create table community_commons_posts (
    id uuid primary key default uuid7(),
    author_id uuid references users on delete set null,
    title label not null,
    body prose not null,
    phase phase_code,
    element element,
    tags text[] not null default '{}' check (cardinality(tags) <= 12),
    hidden boolean not null default false,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
comment on table community_commons_posts is 'A post of the Commons, read by everybody who signed in.';
comment on column community_commons_posts.hidden is 'Taken out of sight by a moderator.';
create index on community_commons_posts (created_at desc) where not hidden;
create index on community_commons_posts using gin (tags);
create policy seen_select on community_commons_posts for select to authenticated
    using (not hidden or author_id = (select auth.uid()));
create policy own_insert on community_commons_posts for insert to authenticated
    with check (author_id = (select auth.uid()) and not hidden and (select may_post()));
create policy own_update on community_commons_posts for update to authenticated
    using (author_id = (select auth.uid()) and not hidden) with check (author_id = (select auth.uid()) and not hidden);
create policy own_delete on community_commons_posts for delete to authenticated using (author_id = (select auth.uid()));

create table community_commons_comments (
    id uuid primary key default uuid7(),
    post_id uuid not null references community_commons_posts on delete cascade,
    author_id uuid references users on delete set null,
    body prose not null,
    hidden boolean not null default false,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
comment on table community_commons_comments is 'What is said to a post of the Commons.';
create index on community_commons_comments (post_id, created_at);
create policy seen_select on community_commons_comments for select to authenticated using (
    (not hidden or author_id = (select auth.uid())) and exists (select from community_commons_posts p where p.id = post_id));
create policy own_insert on community_commons_comments for insert to authenticated with check (
    author_id = (select auth.uid()) and not hidden and exists (select from community_commons_posts p where p.id = post_id));
create policy own_update on community_commons_comments for update to authenticated
    using (author_id = (select auth.uid()) and not hidden)
    with check (author_id = (select auth.uid()) and not hidden
                and exists (select from community_commons_posts p where p.id = post_id));
create policy own_delete on community_commons_comments for delete to authenticated using (author_id = (select auth.uid()));

create table community_wisdom_contributions (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    title label not null,
    body prose not null,
    phase phase_code,
    consented boolean not null default false,
    accepted_at timestamptz,
    created_at timestamptz not null default now(),
    check (accepted_at is null or consented)
);
comment on table community_wisdom_contributions is 'Something a person learned and offers to all.';
comment on column community_wisdom_contributions.consented is 'That it may be shared. Without it nobody accepts it.';
comment on column community_wisdom_contributions.accepted_at is 'Since when all may read it.';
create policy seen_select on community_wisdom_contributions for select to authenticated
    using (user_id = (select auth.uid()) or accepted_at is not null);
create policy own_insert on community_wisdom_contributions for insert to authenticated
    with check (user_id = (select auth.uid()) and accepted_at is null);
create policy own_update on community_wisdom_contributions for update to authenticated
    using (user_id = (select auth.uid()) and accepted_at is null) with check (user_id = (select auth.uid()) and accepted_at is null);
create policy own_delete on community_wisdom_contributions for delete to authenticated using (user_id = (select auth.uid()));

create table collective_consciousness_patterns (
    id uuid primary key default uuid7(),
    pattern label not null,
    element element,
    phase phase_code,
    people count not null check (people >= 5),
    strength score not null,
    during tstzrange not null check (not isempty(during)),
    created_at timestamptz not null default now()
);
comment on table collective_consciousness_patterns is 'What many go through at once. Only where it says nothing of one of them.';
comment on column collective_consciousness_patterns.people is 'How many it is seen in; never fewer than five.';
select pg_temp.reference('collective_consciousness_patterns');

create table community_field_state (
    id uuid primary key default uuid7(),
    group_id uuid references groups on delete cascade,
    coherence score not null,
    elements fields not null default '{}',
    people count not null check (people >= 5),
    measured_at timestamptz not null default now()
);
comment on table community_field_state is 'How coherent a circle, or the whole community, is.';
comment on column community_field_state.elements is 'Element to share.';
create index on community_field_state (group_id, measured_at desc);
create policy seen_select on community_field_state for select to authenticated
    using (group_id is null or group_id in (select my_groups()));

create table shared_content (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    with_group uuid references groups on delete cascade,
    with_user uuid references users on delete cascade,
    kind text not null check (kind in ('journal', 'chart', 'insight', 'breakthrough', 'memory')),
    title label not null,
    body prose not null,
    created_at timestamptz not null default now(),
    expires_at timestamptz check (expires_at > created_at),
    check (num_nonnulls(with_group, with_user) = 1)
);
comment on table shared_content is 'A copy of something of one''s own, shown to one person or one circle. Deleting it takes it back.';
create policy seen_select on shared_content for select to authenticated using (
    user_id = (select auth.uid()) or ((expires_at is null or expires_at > now())
    and (with_user = (select auth.uid()) or with_group in (select my_groups()))));
create policy own_insert on shared_content for insert to authenticated with check (
    user_id = (select auth.uid()) and (with_group is null or with_group in (select my_groups())));
create policy own_delete on shared_content for delete to authenticated using (user_id = (select auth.uid()));
create index on shared_content (user_id, created_at desc);

create table bookmarks (
    user_id uuid not null references users on delete cascade,
    post_id uuid not null references community_commons_posts on delete cascade,
    created_at timestamptz not null default now(),
    primary key (user_id, post_id)
);
comment on table bookmarks is 'Posts a person wants to find again.';
select pg_temp.own('bookmarks', 'sid', at => '');

create table peer_support_offers (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    themes text[] not null check (cardinality(themes) between 1 and 12),
    languages text[] not null default '{en}',
    places smallint not null default 1 check (places between 1 and 5),
    active boolean not null default true,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
comment on table peer_support_offers is 'Somebody offers to listen.';
comment on column peer_support_offers.places is 'To how many at a time.';
create index on peer_support_offers using gin (themes) where active;
select pg_temp.own('peer_support_offers');

create table peer_support_requests (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    themes text[] not null check (cardinality(themes) between 1 and 12),
    language text not null default 'en',
    urgency text not null default 'calm' check (urgency in ('calm', 'soon')),
    created_at timestamptz not null default now(),
    withdrawn_at timestamptz
);
comment on table peer_support_requests is 'Somebody asks to be listened to. Emergencies are not for peers: the application leads them elsewhere.';
select pg_temp.own('peer_support_requests');

create table peer_support_matches (
    id uuid primary key default uuid7(),
    request_id uuid not null references peer_support_requests on delete cascade,
    offer_id uuid not null references peer_support_offers on delete cascade,
    asker_id uuid not null references users on delete cascade,
    listener_id uuid not null references users on delete cascade,
    state text not null default 'proposed' check (state in ('proposed', 'open', 'closed', 'declined')),
    created_at timestamptz not null default now(),
    closed_at timestamptz check (closed_at >= created_at),
    check (asker_id <> listener_id),
    unique (request_id, offer_id)
);
comment on table peer_support_matches is 'Two people who were brought together. The appliance proposes, both decide.';
create policy both_select on peer_support_matches for select to authenticated
    using (asker_id = (select auth.uid()) or listener_id = (select auth.uid()));
create policy both_update on peer_support_matches for update to authenticated
    using (asker_id = (select auth.uid()) or listener_id = (select auth.uid()))
    with check (asker_id = (select auth.uid()) or listener_id = (select auth.uid()));

create table peer_support_messages (
    id uuid primary key default uuid7(),
    match_id uuid not null references peer_support_matches on delete cascade,
    author_id uuid references users on delete set null,
    content sealed not null,
    created_at timestamptz not null default now()
);
comment on table peer_support_messages is 'What the two say to each other, sealed between them.';
comment on column peer_support_messages.content is 'The message.';
create index on peer_support_messages (match_id, created_at);
create policy both_select on peer_support_messages for select to authenticated
    using (match_id in (select m.id from peer_support_matches m));
create policy own_insert on peer_support_messages for insert to authenticated with check (
    author_id = (select auth.uid()) and match_id in (select m.id from peer_support_matches m where m.state = 'open'));
create policy own_delete on peer_support_messages for delete to authenticated using (author_id = (select auth.uid()));

create table peer_support_feedback (
    id uuid primary key default uuid7(),
    match_id uuid not null references peer_support_matches on delete cascade,
    user_id uuid not null references users on delete cascade,
    helped scale10 not null,
    safe boolean not null,
    created_at timestamptz not null default now(),
    unique (match_id, user_id)
);
comment on table peer_support_feedback is 'How it was for one of the two. The other does not see it.';
comment on column peer_support_feedback.safe is 'Whether the person felt safe.';
create policy own_select on peer_support_feedback for select to authenticated using (user_id = (select auth.uid()));
create policy own_insert on peer_support_feedback for insert to authenticated with check (
    user_id = (select auth.uid()) and match_id in (select m.id from peer_support_matches m));
create index on peer_support_feedback (user_id);
