"""Sessions: opened, raised by a second factor, looked at, ended. The database has the truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from app.auth import audit, users
from app.auth.context import Origin, Service
from app.auth.database import Connection, Row, every, one, run
from app.auth.errors import Refused
from app.auth.keys import digest, new_token
from app.auth.tokens import Caller

MOST = 100
"""Sessions that one account may have; the oldest go."""

# The account is locked, so that no session slips in beside a change of its password or a ban, which end them all.
_OPEN = """
with opened as (
    insert into auth.sessions (id, user_id, created_at, updated_at, aal, user_agent, ip)
    select %(session)s, u.id, now(), now(), %(aal)s, %(agent)s, %(address)s::inet from auth.users u
    where u.id = %(user)s and u.deleted_at is null and not coalesce(u.banned_until > now(), false)
      and (%(password)s::text is null or u.encrypted_password = %(password)s) for no key update of u
    returning id
), means as (
    insert into auth.mfa_amr_claims (session_id, authentication_method) select id, %(method)s from opened
), first as (
    insert into auth.refresh_tokens (instance_id, token, user_id, revoked, created_at, updated_at, session_id)
    select '00000000-0000-0000-0000-000000000000', %(token)s, %(user)s::text, false, now(), now(), id from opened
), seen as (
    update auth.identities set last_sign_in_at = now() where user_id = %(user)s and provider = 'email'
)
update auth.users set last_sign_in_at = now(), updated_at = now() where id = %(user)s and exists (select from opened)
"""

_THIN_OUT = """
delete from auth.sessions where id in (
    select id from auth.sessions where user_id = %(user)s order by created_at desc offset %(most)s)
"""

MEANS = """
(select coalesce(json_agg(json_build_object('method', m.authentication_method,
    'timestamp', extract(epoch from m.updated_at)::bigint) order by m.updated_at desc, m.authentication_method), '[]')
 from auth.mfa_amr_claims m where m.session_id = s.id) as means
"""

_SWAP = """
with parent as (
    update auth.refresh_tokens set revoked = true, updated_at = clock_timestamp() where id = %(id)s
)
insert into auth.refresh_tokens (instance_id, token, user_id, revoked, created_at, updated_at, parent, session_id)
values ('00000000-0000-0000-0000-000000000000', %(child)s, %(user)s::text, false, now(), now(), %(token)s, %(session)s)
"""

_RAISE = """
with held as (
    update auth.sessions set aal = 'aal2', factor_id = %(factor)s, updated_at = now() where id = %(session)s
)
insert into auth.mfa_amr_claims (session_id, authentication_method) values (%(session)s, %(method)s)
on conflict (session_id, authentication_method) do update set updated_at = now()
"""

_HELD = f"""
select {users.COLUMNS}, {MEANS}, s.id as session_id, coalesce(s.aal, 'aal1') as aal
from auth.sessions s join auth.users u on u.id = s.user_id where s.id = %(session)s
"""  # noqa: S608 - constants


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A session as its owner gets it."""

    session: UUID
    aal: str
    refresh_token: str
    user: Row
    means: list[Row]


async def opened(link: Connection, user: UUID, method: str, origin: Origin, *, password: str | None = None) -> Opened:
    """A new session.

    Args:
        method: by which means, a word of ``amr``.
        password: the hash that was checked; where it is another one by now, nobody gets in.

    Raises:
        Refused: the account is banned or gone, or its password has changed.
    """
    session, token = uuid4(), new_token()
    values = {
        "session": session,
        "user": user,
        "aal": "aal1",
        "agent": origin.agent,
        "address": origin.address,
        "method": method,
        "token": digest(token),
        "password": password,
    }
    if not await run(link, _OPEN, values):
        raise Refused(400, "invalid_credentials", "Invalid login credentials")
    await run(link, _THIN_OUT, {"user": user, "most": MOST})
    await audit.add(link, user, "signed_in", address=origin.address, actor=user, method=method, session=str(session))
    return await held(link, session, token)


async def held(link: Connection, session: UUID, token: str) -> Opened:
    """A session as it stands, for whoever has its refresh token."""
    found = await one(link, _HELD, {"session": session})
    if found is None:
        raise Refused(403, "session_not_found", "Session from session_id claim in JWT does not exist")
    return of_row(found, token)


def of_row(row: Row, token: str) -> Opened:
    """A session as it was read, for whoever has its refresh token."""
    return Opened(session=row["session_id"], aal=row["aal"], refresh_token=token, user=row, means=row["means"])


async def raised(service: Service, link: Connection, who: Caller, factor: UUID, method: str) -> Opened:
    """The session after a second factor: at ``aal2``, with a new refresh token; others below it are ended.

    Args:
        method: by which means, a word of ``amr``.
    """
    values = {"session": who.session, "user": who.user, "factor": factor, "method": method}
    await run(link, "select from auth.sessions where id = %(session)s for update", values)
    await run(link, _RAISE, values)
    await run(
        link,
        "delete from auth.sessions where user_id = %(user)s and id <> %(session)s and coalesce(aal, 'aal1') = 'aal1'",
        values,
    )
    now = await one(
        link, "select id, token from auth.refresh_tokens where session_id = %(session)s and not revoked", values
    )
    if now is None:
        raise Refused(403, "session_not_found", "Session from session_id claim in JWT does not exist")
    child = service.keys.child(now["token"])
    await run(link, _SWAP, {**values, "id": now["id"], "token": now["token"], "child": digest(child)})
    return await held(link, who.session, child)


async def live(service: Service, link: Connection, who: Caller) -> Row:
    """The account of a caller whose session may still be used.

    Raises:
        Refused: the session was ended or is too old, or the account is banned or gone.
    """
    values = {
        "session": who.session,
        "user": who.user,
        "absolute": service.policy.absolute_seconds,
        "idle": service.policy.idle_seconds,
    }
    found = await one(link, users.LIVE, values)
    if found is None:
        if await users.by_id(link, who.user) is None:
            raise Refused(403, "user_not_found", "User from sub claim in JWT does not exist")
        raise Refused(403, "session_not_found", "Session from session_id claim in JWT does not exist")
    if not found["live"]:
        raise Refused(403, "session_expired", "Session has expired")
    if found["banned"]:
        raise Refused(403, "user_banned", "User is banned")
    return found


async def end(link: Connection, user: UUID, scope: str, session: UUID) -> list[UUID]:
    """End this session (``local``), the others (``others``) or all (``global``); says which."""
    which = {"local": "and id = %(session)s", "others": "and id <> %(session)s", "global": ""}[scope]
    gone = await every(
        link,
        f"delete from auth.sessions where user_id = %(user)s {which} returning id",  # noqa: S608
        {"user": user, "session": session},
    )
    return [row["id"] for row in gone]


def answer(service: Service, opened: Opened) -> dict[str, Any]:
    """A session as clients read it."""
    user = opened.user
    claims = {
        "sub": str(user["id"]),
        "email": user["email"] or "",
        "phone": user["phone"] or "",
        "app_metadata": user["raw_app_meta_data"] or {},
        "user_metadata": user["raw_user_meta_data"] or {},
        "role": user["role"] or "",
        "aal": opened.aal,
        "amr": opened.means,
        "session_id": str(opened.session),
        "is_anonymous": user["is_anonymous"],
    }
    token, expires = service.tokens.mint(claims)
    return {
        "access_token": token,
        "token_type": "bearer",
        "expires_in": service.policy.access_seconds,
        "expires_at": expires,
        "refresh_token": opened.refresh_token,
        "user": users.document(user),
    }
