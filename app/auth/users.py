"""Accounts: read with all that clients see of them, made, and changed."""

from __future__ import annotations

import datetime
import json
from typing import Any
from uuid import UUID, uuid4

from app.auth.database import Connection, Row, one, run

COLUMNS = """
u.id, u.aud, u.role, u.email, u.encrypted_password, u.email_confirmed_at, u.invited_at, u.phone, u.phone_confirmed_at,
u.confirmation_sent_at, u.confirmed_at, u.recovery_sent_at, u.email_change, u.email_change_sent_at,
u.reauthentication_sent_at, u.last_sign_in_at, u.raw_app_meta_data, u.raw_user_meta_data, u.created_at, u.updated_at,
u.banned_until, u.deleted_at, u.is_anonymous, u.is_sso_user, u.email_change_confirm_status,
coalesce(u.banned_until > now(), false) as banned,
(select coalesce(json_agg(json_build_object('identity_id', i.id, 'id', i.provider_id, 'user_id', i.user_id,
    'identity_data', i.identity_data, 'provider', i.provider, 'last_sign_in_at', i.last_sign_in_at,
    'created_at', i.created_at, 'updated_at', i.updated_at, 'email', i.email) order by i.created_at, i.id), '[]')
 from auth.identities i where i.user_id = u.id) as identities,
(select coalesce(json_agg(json_build_object('id', f.id, 'friendly_name', f.friendly_name, 'factor_type', f.factor_type,
    'status', f.status, 'created_at', f.created_at, 'updated_at', f.updated_at) order by f.created_at, f.id), '[]')
 from auth.mfa_factors f where f.user_id = u.id) as factors
"""
"""What is read of an account; ``u`` is it."""

SESSION_LIVE = """
(s.created_at > now() - make_interval(secs => %(absolute)s) and coalesce(s.not_after > now(), true)
    and coalesce(s.refreshed_at at time zone 'UTC', s.created_at) > now() - make_interval(secs => %(idle)s))
"""
"""Whether the session ``s`` may still be used."""

BY_ID = f"select {COLUMNS} from auth.users u where u.id = %(id)s and u.deleted_at is null"  # noqa: S608 - constants
BY_MAIL = f"""
select {COLUMNS} from auth.users u
where u.email = %(email)s and not u.is_sso_user and u.deleted_at is null
"""  # noqa: S608 - constants
LISTED = f"""
select {COLUMNS} from auth.users u where u.deleted_at is null
order by u.created_at desc, u.id limit %(limit)s offset %(offset)s
"""  # noqa: S608 - constants
LIVE = f"""
select {COLUMNS}, s.id as session_id, coalesce(s.aal, 'aal1') as session_aal, s.created_at as session_created_at,
    {SESSION_LIVE} as live
from auth.sessions s join auth.users u on u.id = s.user_id
where s.id = %(session)s and s.user_id = %(user)s and u.deleted_at is null
"""  # noqa: S608 - constants
"""A user by a session, with whether it may still be used."""

TIMES = (
    "email_confirmed_at",
    "invited_at",
    "phone_confirmed_at",
    "confirmation_sent_at",
    "confirmed_at",
    "recovery_sent_at",
    "email_change_sent_at",
    "reauthentication_sent_at",
    "last_sign_in_at",
    "banned_until",
)

_INSERT = """
insert into auth.users (id, instance_id, aud, role, email, encrypted_password, raw_app_meta_data, raw_user_meta_data,
    created_at, updated_at, email_confirmed_at, is_anonymous, confirmation_token, recovery_token, email_change,
    email_change_token_new)
values (%(id)s, '00000000-0000-0000-0000-000000000000', %(aud)s, %(role)s, %(email)s, %(password)s, %(app)s::jsonb,
    %(meta)s::jsonb, now(), now(), case when %(confirmed)s then now() end, %(anonymous)s, '', '', '', '')
on conflict do nothing
"""

_IDENTITY = """
insert into auth.identities (id, provider_id, user_id, identity_data, provider, last_sign_in_at, created_at, updated_at)
values (%(id)s, %(user)s::text, %(user)s, %(data)s::jsonb, 'email', now(), now(), now())
"""


async def by_id(link: Connection, user: UUID) -> Row | None:
    return await one(link, BY_ID, {"id": user})


async def by_mail(link: Connection, email: str) -> Row | None:
    """The account of an address, which is in small letters."""
    return await one(link, BY_MAIL, {"email": email})


async def locked(link: Connection, user: UUID) -> Row | None:
    """The account, which nobody else changes until the transaction ends."""
    if not await run(link, "select from auth.users where id = %(id)s for update", {"id": user}):
        return None
    return await by_id(link, user)


async def add(
    link: Connection,
    *,
    audience: str,
    email: str | None,
    password: str | None,
    meta: dict[str, Any],
    app: dict[str, Any] | None = None,
    role: str = "authenticated",
    confirmed: bool = False,
    user: UUID | None = None,
) -> Row | None:
    """A new account, with its identity where it has an address; None where there is one of this address or id.

    Args:
        password: its hash.
        confirmed: the address is known to be theirs.
    """
    made = user or uuid4()
    known = {"email": email, "email_verified": confirmed, "phone_verified": False, "sub": str(made)} if email else {}
    told = {**meta, **known}
    providers = {"provider": "email", "providers": ["email"]} if email else {}
    values = {
        "id": made,
        "aud": audience,
        "role": role,
        "email": email,
        "password": password,
        "app": json.dumps({**(app or {}), **providers}),
        "meta": json.dumps(told),
        "confirmed": confirmed,
        "anonymous": email is None,
    }
    if not await run(link, _INSERT, values):
        return None
    if email:
        await run(link, _IDENTITY, {"id": uuid4(), "user": made, "data": json.dumps(told)})
    return await by_id(link, made)


async def change(link: Connection, user: UUID, **values: Any) -> None:
    """Set columns of an account.

    Args:
        values: by column; what is no text, number or time goes in as JSON.
    """
    names = ", ".join(f"{name} = %({name})s" for name in values)
    ready = {name: json.dumps(value) if isinstance(value, dict) else value for name, value in values.items()}
    await run(link, f"update auth.users set {names}, updated_at = now() where id = %(id)s", {**ready, "id": user})  # noqa: S608


async def confirm(link: Connection, user: UUID) -> None:
    """The address of the account is known to be theirs."""
    await run(
        link,
        """
        with known as (
            update auth.users set email_confirmed_at = coalesce(email_confirmed_at, now()), updated_at = now(),
                is_anonymous = false,
                raw_user_meta_data = coalesce(raw_user_meta_data, '{}') || '{"email_verified": true}'
            where id = %(id)s
        )
        update auth.identities set identity_data = identity_data || '{"email_verified": true}', updated_at = now()
        where user_id = %(id)s and provider = 'email'
        """,
        {"id": user},
    )


def told(user: Row, meta: dict[str, Any]) -> dict[str, Any]:
    """Metadata of an account with what the service itself says in it."""
    known = {"email": user["email"], "email_verified": bool(user["email_confirmed_at"]), "phone_verified": False}
    return {**meta, **known, "sub": str(user["id"])}


async def sent(link: Connection, user: UUID, column: str) -> None:
    """A mail was sent just now; ``column`` says of which kind."""
    await run(link, f"update auth.users set {column} = now() where id = %(id)s", {"id": user})  # noqa: S608 - ours


async def move(link: Connection, user: UUID, email: str) -> None:
    """The account has another address from now on, which is known to be theirs.

    Raises:
        psycopg.errors.UniqueViolation: it is somebody else's.
    """
    await run(
        link,
        """
        with moved as (
            update auth.users set email = %(email)s::text, email_change = '', email_change_confirm_status = 0,
                email_confirmed_at = now(), updated_at = now(), is_anonymous = false,
                raw_app_meta_data = coalesce(raw_app_meta_data, '{}') || '{"provider": "email"}'
                    || jsonb_build_object('providers', coalesce(raw_app_meta_data -> 'providers', '[]')
                        || case when coalesce(raw_app_meta_data -> 'providers', '[]') ? 'email' then '[]'::jsonb
                                else '["email"]' end),
                raw_user_meta_data = coalesce(raw_user_meta_data, '{}')
                    || jsonb_build_object('email', %(email)s::text, 'email_verified', true, 'sub', id::text,
                                          'phone_verified', false)
            where id = %(id)s::uuid
        )
        insert into auth.identities (id, provider_id, user_id, identity_data, provider, created_at, updated_at)
        values (gen_random_uuid(), %(id)s::uuid::text, %(id)s::uuid,
                jsonb_build_object('sub', %(id)s::uuid::text, 'email', %(email)s::text, 'email_verified', true,
                                   'phone_verified', false), 'email', now(), now())
        on conflict (provider_id, provider) do update
            set identity_data = auth.identities.identity_data || excluded.identity_data, updated_at = now()
        """,
        {"id": user, "email": email},
    )


def document(row: Row) -> dict[str, Any]:
    """What clients see of an account; what is empty is left out."""
    seen: dict[str, Any] = {"id": str(row["id"]), "aud": row["aud"] or "", "role": row["role"] or ""}
    seen["email"] = row["email"] or ""
    seen["phone"] = row["phone"] or ""
    seen |= {name: stamp(row[name]) for name in TIMES if row[name]}
    if row["email_change"]:
        seen["new_email"] = row["email_change"]
    seen["app_metadata"] = row["raw_app_meta_data"] or {}
    seen["user_metadata"] = row["raw_user_meta_data"] or {}
    if row["factors"]:
        seen["factors"] = [factor(each) for each in row["factors"]]
    seen["identities"] = [_without_empty(each) for each in row["identities"]]
    seen["created_at"] = stamp(row["created_at"])
    seen["updated_at"] = stamp(row["updated_at"])
    seen["is_anonymous"] = row["is_anonymous"]
    return seen


def factor(each: Row) -> dict[str, Any]:
    """What clients see of a second factor."""
    return _without_empty(each)


def _without_empty(each: Row) -> dict[str, Any]:
    """Times as everywhere else; empty members left out."""
    return {
        key: value.replace("+00:00", "Z") if key.endswith("_at") else value
        for key, value in each.items()
        if value is not None
    }


def stamp(at: datetime.datetime | None) -> str | None:
    """A time as clients read it."""
    return at.astimezone(datetime.UTC).isoformat().replace("+00:00", "Z") if at else None
