"""Families of refresh tokens: each is good once and has one child. A token is kept as its digest alone."""

from __future__ import annotations

from uuid import UUID

from app.auth import audit, users
from app.auth.context import Origin, Service
from app.auth.database import Connection, Row, one, run
from app.auth.errors import Refused
from app.auth.keys import digest
from app.auth.sessions import MEANS, Opened, of_row

STEPS = 16
"""How many exchanges within the tolerated interval are followed to the token that is good now."""

_LOCK = """
select from auth.sessions s join auth.refresh_tokens t on t.session_id = s.id where t.token = %(token)s for update of s
"""
"""Those who refresh one session at once come one after the other."""

_FAMILY = f"""
select {users.COLUMNS}, {MEANS}, t.id as token_id, t.revoked, s.id as session_id, coalesce(s.aal, 'aal1') as aal,
    t.updated_at > clock_timestamp() - make_interval(secs => %(reuse)s) as lately, {users.SESSION_LIVE} as live
from auth.refresh_tokens t join auth.sessions s on s.id = t.session_id join auth.users u on u.id = s.user_id
where t.token = %(token)s
"""  # noqa: S608 - constants

_ROTATE = f"""
with held as (
    select s.id, s.user_id from auth.sessions s
    join auth.refresh_tokens t on t.session_id = s.id join auth.users u on u.id = s.user_id
    where t.token = %(token)s and not t.revoked and {users.SESSION_LIVE} and u.deleted_at is null
      and not coalesce(u.banned_until > now(), false) for update of s
), parent as (
    update auth.refresh_tokens t set revoked = true, updated_at = clock_timestamp() from held
    where t.token = %(token)s and t.session_id = held.id and not t.revoked returning held.id, held.user_id
), child as (
    insert into auth.refresh_tokens (instance_id, token, user_id, revoked, created_at, updated_at, parent, session_id)
    select '00000000-0000-0000-0000-000000000000', %(child)s, user_id::text, false, now(), now(), %(token)s, id
    from parent
), seen as (
    update auth.sessions s set refreshed_at = now() at time zone 'UTC', updated_at = now(), user_agent = %(agent)s,
        ip = %(address)s::inet from parent where s.id = parent.id
)
select {users.COLUMNS}, {MEANS}, s.id as session_id, coalesce(s.aal, 'aal1') as aal,
    auth.audit(u.id, 'token_refreshed', 'done', u.id, %(address)s::inet, jsonb_build_object('session', s.id)) as logged
from parent join auth.sessions s on s.id = parent.id join auth.users u on u.id = parent.user_id
"""  # noqa: S608 - constants
"""All of an exchange in one statement, which commits by itself. The session is locked before its token, as by what ends
it; who comes second finds the token exchanged, and no row."""


async def refreshed(service: Service, token: str, origin: Origin) -> Opened | Refused:
    """The session of a refresh token, with the token that is good from now on."""
    policy, child = service.policy, service.keys.child(digest(token))
    values = {
        "token": digest(token),
        "child": digest(child),
        "agent": origin.agent,
        "address": origin.address,
        "reuse": policy.reuse_seconds,
        "absolute": policy.absolute_seconds,
        "idle": policy.idle_seconds,
    }
    found = await service.database.one(_ROTATE, values)
    if found is not None:
        return of_row(found, child)
    async with service.database.transaction() as link:
        return await _not_exchanged(service, link, token, values)


async def _not_exchanged(service: Service, link: Connection, token: str, values: Row) -> Opened | Refused:
    """Why a token was not exchanged, or what it gives because it was a moment ago.

    A refusal is given back, not raised, since what it says was done must last: a token that is used again outside the
    tolerated interval ends its session.
    """
    await run(link, _LOCK, values)
    found = await one(link, _FAMILY, values)
    if found is None:
        return Refused(400, "refresh_token_not_found", "Invalid Refresh Token: Refresh Token Not Found")
    session, user, address = found["session_id"], found["id"], values["address"]
    if found["banned"] or found["deleted_at"]:
        return Refused(400, "user_banned", "Invalid Refresh Token: User Banned")
    if not found["live"]:
        await _end(link, session)
        await audit.add(link, user, "session_expired", address=address, session=str(session))
        return Refused(400, "session_expired", "Invalid Refresh Token: Session Expired")
    if not found["revoked"]:
        # What was in the way is not any more.
        again = await one(link, _ROTATE, values)
        if again is None:
            return Refused(409, "conflict", "The session was changed meanwhile")
        return of_row(again, service.keys.child(values["token"]))
    if found["lately"]:
        return of_row(found, await _current(service, link, token))
    await _end(link, session)
    await audit.add(link, user, "token_reused", address=address, refused=True, session=str(session))
    return Refused(400, "refresh_token_already_used", "Invalid Refresh Token: Already Used")


async def _current(service: Service, link: Connection, token: str) -> str:
    """The token of the family that is good now: each follows from the one before it."""
    for _ in range(STEPS):
        token = service.keys.child(digest(token))
        found = await one(link, "select revoked from auth.refresh_tokens where token = %(t)s", {"t": digest(token)})
        if found is None or not found["revoked"]:
            break
    return token


async def _end(link: Connection, session: UUID) -> None:
    await run(link, "delete from auth.sessions where id = %(id)s", {"id": session})
