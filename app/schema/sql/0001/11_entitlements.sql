-- What somebody may use. Nothing is billed: premium access is granted, by a person, a practice or a passcode.

create table features (
    code slug primary key,
    title label not null,
    about prose
);
comment on table features is 'What can be allowed or withheld.';
select pg_temp.reference('features', true);

create table subscription_tiers (
    code slug primary key,
    title label not null,
    rank smallint not null unique check (rank >= 0),
    about prose
);
comment on table subscription_tiers is 'Kinds of access. None has a price.';
comment on column subscription_tiers.rank is 'The higher one holds what the lower ones hold.';
select pg_temp.reference('subscription_tiers', true);

create table tier_features (
    tier slug not null references subscription_tiers on delete cascade,
    feature slug not null references features on delete cascade,
    primary key (tier, feature)
);
comment on table tier_features is 'Which kind of access opens which feature.';
select pg_temp.reference('tier_features', true);

create table passcodes (
    id uuid primary key default uuid7(),
    digest digest not null unique,
    tier slug not null references subscription_tiers,
    uses_left count not null,
    expires_at timestamptz not null,
    created_by uuid references users on delete set null,
    created_at timestamptz not null default now(),
    check (expires_at > created_at)
);
comment on table passcodes is 'Words that open premium access. The word itself is not kept, and each one ends.';
comment on column passcodes.digest is 'SHA-256 of the passcode in capitals.';
comment on column passcodes.uses_left is 'How often it can still be redeemed.';

create table user_subscriptions (
    id uuid primary key default uuid7(),
    user_id uuid not null references users on delete cascade,
    tier slug not null references subscription_tiers,
    source text not null check (source in ('granted', 'passcode', 'practice', 'beta')),
    granted_by uuid references users on delete set null,
    during tstzrange not null default tstzrange(now(), null),
    check (not isempty(during)),
    exclude using gist (user_id with =, tier with =, during with &&)
);
comment on table user_subscriptions is 'Who has which access, and from when to when.';
comment on column user_subscriptions.during is 'From when to when; without an end it lasts. Two of a kind never overlap.';
select pg_temp.own('user_subscriptions', 's', at => 'during');

create table passcode_redemptions (
    passcode_id uuid not null references passcodes on delete cascade,
    user_id uuid not null references users on delete cascade,
    redeemed_at timestamptz not null default now(),
    primary key (passcode_id, user_id)
);
comment on table passcode_redemptions is 'Who redeemed which passcode. Once each.';
select pg_temp.own('passcode_redemptions', 's', at => 'redeemed_at');

create function redeem_passcode(word text) returns slug
language plpgsql security definer set search_path = '' as $$
declare
    found maia.passcodes;
begin
    if (select auth.uid()) is null then
        raise insufficient_privilege using message = 'sign in first';
    end if;
    select * into found from maia.passcodes p
    where p.digest = sha256(convert_to(upper(btrim(word)), 'UTF8')) and p.uses_left > 0 and p.expires_at > now() for update;
    if found.id is null then
        raise invalid_parameter_value using message = 'no such passcode, or it has ended';
    end if;
    insert into maia.passcode_redemptions (passcode_id, user_id) values (found.id, (select auth.uid()));
    update maia.passcodes p set uses_left = uses_left - 1 where p.id = found.id;
    insert into maia.user_subscriptions (user_id, tier, source, during)
    values ((select auth.uid()), found.tier, 'passcode', tstzrange(now(), found.expires_at));
    return found.tier;
end
$$;
comment on function redeem_passcode is 'Open what the passcode opens, for the one who asks. The same answer for a wrong one and one that ended.';
create policy owner_all on passcodes to maia_owner using (true) with check (true);
create policy owner_insert on passcode_redemptions for insert to maia_owner with check (true);
create policy owner_insert on user_subscriptions for insert to maia_owner with check (true);

create view my_features with (security_invoker = true) as
select distinct f.code from user_subscriptions s
join subscription_tiers held on held.code = s.tier
join subscription_tiers below on below.rank <= held.rank
join tier_features t on t.tier = below.code join features f on f.code = t.feature
where s.during @> now() and s.user_id = (select auth.uid());
comment on view my_features is 'What the one who asks may use now.';
grant select on my_features to authenticated;
