"""Accounts as the service key may handle them."""

from __future__ import annotations

import datetime
import re
from typing import Any
from uuid import UUID

import psycopg
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.auth import audit, bodies, policy, sessions, users
from app.auth import factors as seconds
from app.auth.bodies import Body
from app.auth.context import Service, origin, require_admin, service
from app.auth.database import Connection, Row, every, run
from app.auth.errors import Refused, invalid
from app.auth.settings import FACTOR, SIGN_IN

PAGE = 50
PAGE_LONGEST = 1000
BY = "service_role"

_RESERVED = re.compile(r"service_role|postgres|supabase_.*|maia_.*|pg_.*")
_ROLE = re.compile(r"[a-z][a-z0-9_]{0,62}")
_HASH = re.compile(r"\$2[aby]\$(0[4-9]|1\d|2\d)\$[./A-Za-z0-9]{53}|\$argon2(id|i|d)\$[!-~]{20,400}")
_SPAN = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(h|m|s|ms)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
TAKEN = "A user with this email address has already been registered"


async def listed(request: Request) -> Response:
    """Accounts, the newest first, by pages."""
    require_admin(request)
    page, size = _number(request, "page", 1), min(_number(request, "per_page", PAGE), PAGE_LONGEST)
    async with service(request).database.connection() as link:
        found = await every(link, users.LISTED, {"limit": size, "offset": (page - 1) * size})
        counted = await every(link, "select count(*) as total from auth.users where deleted_at is null", {})
    total = int(counted[0]["total"])
    last = max(1, -(-total // size))
    base = f"{service(request).policy.issuer}/admin/users"
    ways = [f'<{base}?page={page + 1}&per_page={size}>; rel="next"'] if page < last else []
    ways.append(f'<{base}?page={last}&per_page={size}>; rel="last"')
    return JSONResponse(
        {"users": [users.document(row) for row in found], "aud": service(request).policy.audience},
        headers={"x-total-count": str(total), "link": ", ".join(ways)},
    )


async def add(request: Request) -> Response:
    """An account, without a mail."""
    require_admin(request)
    me, body = service(request), await bodies.read(request)
    email = body.mail()
    if not email:
        raise invalid("Cannot create a user without an email")
    password = await _password(me, body, email)
    until = _banned_until(body)
    async with me.database.transaction() as link:
        made = await users.add(
            link,
            audience=me.policy.audience,
            email=email,
            password=password,
            meta=body.metadata("user_metadata"),
            app=body.metadata("app_metadata"),
            role=_role(body) or "authenticated",
            confirmed=body.flag("email_confirm"),
            user=body.identity("id"),
        )
        if made is None:
            raise Refused(422, "email_exists", TAKEN)
        if until is not None:
            await users.change(link, made["id"], banned_until=until)
        await audit.add(link, made["id"], "user_created", address=origin(request).address, by=BY)
        made = await _found(link, made["id"])
    return JSONResponse(users.document(made))


async def read(request: Request) -> Response:
    require_admin(request)
    async with service(request).database.connection() as link:
        return JSONResponse(users.document(await _found(link, _id(request))))


async def update(request: Request) -> Response:
    """Change an account. A new password or a ban ends its sessions."""
    require_admin(request)
    me, body, user = service(request), await bodies.read(request), _id(request)
    async with me.database.connection() as link:
        before = await _found(link, user)
    email = body.mail()
    password = await _password(me, body, email or before["email"] or "")
    changes: dict[str, Any] = {}
    if password:
        changes["encrypted_password"] = password
    if role := _role(body):
        changes["role"] = role
    if "ban_duration" in body:
        changes["banned_until"] = _banned_until(body)
    async with me.database.transaction() as link:
        if await users.locked(link, user) is None:
            raise _unknown()
        if email and email != before["email"]:
            await _move(link, user, email)
        if body.flag("email_confirm"):
            await users.confirm(link, user)
        now = await _found(link, user)
        for name, column in (("user_metadata", "raw_user_meta_data"), ("app_metadata", "raw_app_meta_data")):
            if name in body:
                changes[column] = body.metadata(name, now[column])
        if changes:
            await users.change(link, user, **changes)
        what = sorted([*changes, *(["email"] if email else [])])
        if password or changes.get("banned_until"):
            await sessions.end(link, user, "global", user)
        await audit.add(link, user, "user_updated", address=origin(request).address, by=BY, what=what)
        after = await _found(link, user)
    return JSONResponse(users.document(after))


async def remove(request: Request) -> Response:
    """Take an account away; with ``should_soft_delete`` its id stays, and nothing else of it."""
    require_admin(request)
    body, user = await bodies.read(request), _id(request)
    soft = body.flag("should_soft_delete")
    async with service(request).database.transaction() as link:
        if await users.locked(link, user) is None:
            raise _unknown()
        if soft:
            await _hollow(link, user)
        else:
            await run(link, "delete from auth.users where id = %(id)s", {"id": user})
        await audit.add(link, user, "user_deleted", address=origin(request).address, by=BY, soft=soft)
    return JSONResponse({})


async def factors(request: Request) -> Response:
    require_admin(request)
    async with service(request).database.connection() as link:
        found = await _found(link, _id(request))
    return JSONResponse([users.factor(each) for each in found["factors"]])


async def remove_factor(request: Request) -> Response:
    """Take a second factor away, for somebody who has lost it."""
    require_admin(request)
    user, factor = _id(request), bodies.identity(request.path_params["factor"], "factor_id")
    async with service(request).database.transaction() as link:
        await _found(link, user)
        await seconds.found(link, user, factor)
        await seconds.removed(link, user, factor)
        await audit.add(link, user, "factor_removed", address=origin(request).address, by=BY, factor=str(factor))
    return JSONResponse({"id": str(factor)})


async def unlock(request: Request) -> Response:
    """Let somebody try again who was locked out by too many tries."""
    require_admin(request)
    me, user = service(request), _id(request)
    async with me.database.transaction() as link:
        found = await _found(link, user)
        await audit.add(link, user, "unlocked", address=origin(request).address, by=BY)
    await me.limits.forget(found["email"] or "", *SIGN_IN, "verify_account")
    await me.limits.forget(str(user), *FACTOR, "password_account")
    return JSONResponse({})


async def _password(me: Service, body: Body, email: str) -> str | None:
    """The hash of a new password, or one that was made elsewhere."""
    known = body.text("password_hash", longest=500)
    if known:
        if "password" in body:
            raise invalid("Only one of password and password_hash may be given")
        if not _HASH.fullmatch(known) or len(known) > 255:
            raise invalid("password_hash is no hash of bcrypt or argon2")
        return known
    password = body.text("password")
    if not password:
        return None
    policy.refuse_weak(password, me.policy.password_single, (me.policy.name, email))
    return await me.hasher.make(password)


async def _move(link: Connection, user: UUID, email: str) -> None:
    try:
        async with link.transaction():
            await users.move(link, user, email)
    except psycopg.errors.UniqueViolation:
        raise Refused(422, "email_exists", TAKEN) from None


async def _hollow(link: Connection, user: UUID) -> None:
    values = {"id": user}
    for table in ("identities", "sessions", "mfa_factors", "one_time_tokens", "recovery_codes", "flow_state", "outbox"):
        await run(link, f"delete from auth.{table} where user_id = %(id)s", values)  # noqa: S608 - constants
    await run(
        link,
        """
        update auth.users set deleted_at = now(), updated_at = now(), email = null, phone = null, email_change = '',
            encrypted_password = null, raw_user_meta_data = '{}', raw_app_meta_data = '{}' where id = %(id)s
        """,
        values,
    )


async def _found(link: Connection, user: UUID) -> Row:
    found = await users.by_id(link, user)
    if found is None:
        raise _unknown()
    return found


def _unknown() -> Refused:
    return Refused(404, "user_not_found", "User not found")


def _id(request: Request) -> UUID:
    try:
        return UUID(request.path_params["user"])
    except ValueError:
        raise Refused(404, "validation_failed", "user_id must be an UUID") from None


def _number(request: Request, name: str, default: int) -> int:
    told = request.query_params.get(name, "")
    if not told:
        return default
    if not (told.isascii() and told.isdecimal()) or len(told) > 6 or int(told) < 1:
        raise invalid(f"{name} must be a number from 1 on")
    return int(told)


def _role(body: Body) -> str:
    role = body.text("role")
    if role and (not _ROLE.fullmatch(role) or _RESERVED.fullmatch(role)):
        raise invalid("role is not one that an account may have")
    return role


def _banned_until(body: Body) -> datetime.datetime | None:
    """When a ban ends that is told as ``none`` or as a span such as ``24h`` or ``1h30m``."""
    told = body.text("ban_duration")
    if told in ("", "none"):
        return None
    if not re.fullmatch(rf"(?:{_SPAN.pattern})+", told):
        raise invalid("invalid format for ban duration")
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in _SPAN.findall(told))
    if seconds > 200 * 365 * 86400:
        raise invalid("ban duration is too long")
    return datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)
