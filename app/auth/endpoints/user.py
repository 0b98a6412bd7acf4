"""The account of whoever asks."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.auth import audit, bodies, policy, sessions, users
from app.auth.context import Service, caller, origin, service
from app.auth.database import Connection, Row, one
from app.auth.errors import Refused
from app.auth.tokens import Caller


async def read(request: Request) -> Response:
    """The account, as long as the session is still there."""
    here, who = service(request), caller(request)
    async with here.database.connection() as link:
        found = await live(here, link, who)
    return JSONResponse(users.document(found))


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


async def logout(request: Request) -> Response:
    """End sessions: all of the account's by default, or ``scope`` says which."""
    here, who = service(request), caller(request)
    scope = request.query_params.get("scope") or "global"
    if scope not in ("global", "local", "others"):
        raise Refused(400, "validation_failed", f"Unsupported logout scope {scope[:20]!r}")
    async with here.database.transaction() as link:
        await live(here, link, who)
        gone = await sessions.end(link, who.user, scope, who.session)
        await audit.add(
            link, who.user, "signed_out", address=origin(request).address, actor=who.user, scope=scope, ended=len(gone)
        )
    return Response(status_code=204)


async def update(request: Request) -> Response:
    """Change password or metadata."""
    here, who, body = service(request), caller(request), await bodies.read(request)
    async with here.database.connection() as link:
        found = await live(here, link, who)
    changes: dict[str, Any] = {}
    password = body.text("password")
    if "password" in body:
        verified = any(factor["status"] == "verified" for factor in found["factors"])
        least = here.policy.password_second if verified else here.policy.password_single
        policy.refuse_weak(password, least, (here.policy.name, found["email"] or ""))
        if found["encrypted_password"] and await here.hasher.check(password, found["encrypted_password"]):
            raise Refused(422, "same_password", "New password should be different from the old password.")
        changes["encrypted_password"] = await here.hasher.make(password)
    async with here.database.transaction() as link:
        again = await users.locked(link, who.user)
        if again is None or again["encrypted_password"] != found["encrypted_password"]:
            raise Refused(409, "conflict", "The account was changed meanwhile")
        found = await live(here, link, who)
        if "data" in body:
            changes["raw_user_meta_data"] = users.merged(found["raw_user_meta_data"], body.object("data"))
        if changes:
            await users.change(link, who.user, **changes)
            await audit.add(
                link, who.user, "user_updated", address=origin(request).address, actor=who.user, what=sorted(changes)
            )
        if "encrypted_password" in changes:
            await sessions.end(link, who.user, "others", who.session)
        found = await live(here, link, who)
    return JSONResponse(users.document(found))
