-- Care for what is said: who reports what, what is done about it, and who may object.

create table moderation_rules (
    code slug primary key,
    title label not null,
    wording prose not null,
    published_at timestamptz not null default now()
);
comment on table moderation_rules is 'What the community asks of everybody, in its words.';
select pg_temp.reference('moderation_rules', true);

create table moderation_reports (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    rule slug references moderation_rules,
    subject_kind text not null
        check (subject_kind in ('thread', 'reply', 'post', 'comment', 'profile', 'match', 'contribution', 'share')),
    subject_id uuid not null,
    reason prose,
    state text not null default 'new' check (state in ('new', 'looking', 'acted', 'dismissed')),
    created_at timestamptz not null default now(),
    settled_at timestamptz check (settled_at >= created_at)
);
comment on table moderation_reports is 'Somebody says that something should be looked at.';
comment on column moderation_reports.subject_id is 'Key of the row that it is about. It may be gone already.';
create index on moderation_reports (created_at) where state in ('new', 'looking');
create index on moderation_reports (subject_kind, subject_id);
create policy seen_select on moderation_reports for select to authenticated
    using (user_id = (select auth.uid()) or (select has_role('moderator')));
create policy own_insert on moderation_reports for insert to authenticated
    with check (user_id = (select auth.uid()) and state = 'new' and settled_at is null);
create policy moderator_update on moderation_reports for update to authenticated
    using ((select has_role('moderator')) and user_id <> (select auth.uid())) with check ((select has_role('moderator')));
select pg_temp.logged('moderation_reports');

create table moderation_actions (
    id uuid primary key default uuid7(),
    report_id uuid references moderation_reports on delete set null,
    moderator_id uuid references users on delete set null,
    user_id uuid references users on delete cascade,
    kind text not null check (kind in ('none', 'hide', 'restore', 'warn', 'mute', 'remove')),
    reason prose not null,
    until timestamptz,
    created_at timestamptz not null default now(),
    check (until is null or kind = 'mute')
);
comment on table moderation_actions is 'What a moderator did. Only added to.';
comment on column moderation_actions.user_id is 'Whom it concerns. That person may read it.';
comment on column moderation_actions.until is 'When a silence ends.';
create policy seen_select on moderation_actions for select to authenticated
    using (user_id = (select auth.uid()) or (select has_role('moderator')));
create policy moderator_insert on moderation_actions for insert to authenticated with check (
    (select has_role('moderator')) and moderator_id = (select auth.uid()) and user_id <> (select auth.uid())
    and (report_id is null or report_id in (select r.id from moderation_reports r)));
create index on moderation_actions (user_id, created_at desc);
select pg_temp.logged('moderation_actions');

create table moderation_appeals (
    id uuid primary key default uuid7(),
    action_id uuid not null references moderation_actions on delete cascade,
    user_id uuid not null references users on delete cascade,
    reason prose not null,
    state text not null default 'new' check (state in ('new', 'upheld', 'reversed')),
    decided_by uuid references users on delete set null,
    created_at timestamptz not null default now(),
    unique (action_id, user_id)
);
comment on table moderation_appeals is 'Somebody objects to what was done. Another moderator decides.';
create policy seen_select on moderation_appeals for select to authenticated
    using (user_id = (select auth.uid()) or (select has_role('moderator')));
create policy own_insert on moderation_appeals for insert to authenticated with check (
    user_id = (select auth.uid()) and state = 'new' and decided_by is null
    and action_id in (select a.id from moderation_actions a where a.user_id = (select auth.uid())));
create policy moderator_update on moderation_appeals for update to authenticated
    using ((select has_role('moderator')) and user_id <> (select auth.uid())
           and action_id in (select a.id from moderation_actions a where a.moderator_id is distinct from (select auth.uid())))
    with check (decided_by = (select auth.uid()));
create index on moderation_appeals (user_id);
select pg_temp.logged('moderation_appeals');

create table content_holds (
    id uuid primary key default uuid7(),
    subject_kind slug not null,
    subject_id uuid not null,
    score score not null,
    reason slug not null,
    created_at timestamptz not null default now(),
    released_at timestamptz,
    unique (subject_kind, subject_id)
);
comment on table content_holds is 'What the appliance held back until a person has looked.';
comment on column content_holds.score is 'How sure it was.';
create policy moderator_select on content_holds for select to authenticated using ((select has_role('moderator')));
create policy moderator_update on content_holds for update to authenticated
    using ((select has_role('moderator'))) with check ((select has_role('moderator')));
