"""The account of whoever asks."""

from __future__ import annotations

import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.auth import audit, bodies, flows, onetime, outbox, policy, sessions, users
from app.auth.context import Service, caller, origin, service
from app.auth.database import Connection, Row
from app.auth.endpoints import mailings
from app.auth.endpoints.factors import verified
from app.auth.errors import Refused
from app.auth.outbox import Letter
from app.auth.tokens import Caller


async def read(request: Request) -> Response:
    """The account, as long as the session is still there."""
    here, who = service(request), caller(request)
    async with here.database.connection() as link:
        found = await sessions.live(here, link, who)
    return JSONResponse(users.document(found))


async def logout(request: Request) -> Response:
    """End sessions: all of the account's by default, or ``scope`` says which."""
    here, who = service(request), caller(request)
    scope = request.query_params.get("scope") or "global"
    if scope not in ("global", "local", "others"):
        raise Refused(400, "validation_failed", f"Unsupported logout scope {scope[:20]!r}")
    async with here.database.transaction() as link:
        await sessions.live(here, link, who)
        gone = await sessions.end(link, who.user, scope, who.session)
        await audit.add(
            link, who.user, "signed_out", address=origin(request).address, actor=who.user, scope=scope, ended=len(gone)
        )
    return Response(status_code=204)


async def update(request: Request) -> Response:
    """Change password, address or metadata."""
    me, who, here, body = service(request), caller(request), origin(request), await bodies.read(request)
    email, told = body.mail(), flows.challenge(body)
    async with me.database.connection() as link:
        found = await sessions.live(me, link, who)
    guarded = "password" in body or bool(email)
    _require_strength(found, guarded)
    changes: dict[str, Any] = {}
    if "password" in body:
        changes["encrypted_password"] = await _password(me, found, body)
    moves = bool(email) and email != found["email"]
    if moves:
        await mailings.count(me, here, email, "email_change")
    async with me.database.transaction() as link:
        again = await users.locked(link, who.user)
        if again is None or again["encrypted_password"] != found["encrypted_password"]:
            raise Refused(409, "conflict", "The account was changed meanwhile")
        _require_strength(await sessions.live(me, link, who), guarded)
        if "data" in body:
            changes["raw_user_meta_data"] = body.metadata("data", again["raw_user_meta_data"])
        if changes:
            await users.change(link, who.user, **changes)
            await audit.add(link, who.user, "user_updated", address=here.address, actor=who.user, what=sorted(changes))
        if "encrypted_password" in changes:
            await _password_changed(me, link, found, who)
        if moves:
            await _move(me, link, found, email, mailings.redirect(request, body), told)
        found = await sessions.live(me, link, who)
    return JSONResponse(users.document(found))


def _require_strength(user: Row, guarded: bool) -> None:
    """Where there is a second factor, it was given in this session."""
    if guarded and user["session_aal"] == "aal1" and verified(user):
        raise Refused(
            401, "insufficient_aal", "AAL2 session is required to update email or password when MFA is enabled."
        )


async def _password(service: Service, user: Row, body: bodies.Body) -> str:
    """The hash of a new password that may be set.

    Raises:
        Refused: it is weak, the one of before, or a code by mail is missing.
    """
    await service.limits.count("password_account", str(user["id"]))
    password = body.text("password")
    least = service.policy.password_second if verified(user) else service.policy.password_single
    policy.refuse_weak(password, least, (service.policy.name, user["email"] or ""))
    age = (datetime.datetime.now(datetime.UTC) - user["session_created_at"]).total_seconds()
    if "nonce" in body or 0 < service.policy.reauthenticate_seconds < age:
        await _reauthenticated(service, user, body.text("nonce"))
    if user["encrypted_password"] and await service.hasher.check(password, user["encrypted_password"]):
        raise Refused(422, "same_password", "New password should be different from the old password.")
    return await service.hasher.make(password)


async def _reauthenticated(service: Service, user: Row, nonce: str) -> None:
    if not nonce:
        raise Refused(400, "reauthentication_needed", "Password update requires reauthentication")
    async with service.database.transaction() as link:
        good = await onetime.by_code(link, service.keys, [user["id"]], (onetime.REAUTHENTICATION,), nonce)
    if good is None:
        raise Refused(422, "reauthentication_not_valid", "Nonce has expired or is invalid")


async def _password_changed(service: Service, link: Connection, user: Row, who: Caller) -> None:
    """What a new password ends: other sessions, and mails under way."""
    await sessions.end(link, who.user, "others", who.session)
    await onetime.drop(link, who.user, onetime.RECOVERY, onetime.REAUTHENTICATION)
    if user["email"]:
        letter = Letter(kind="password_changed", to=user["email"])
        await outbox.put(link, service.policy, service.keys, who.user, letter)


async def _move(
    service: Service, link: Connection, user: Row, email: str, redirect: str, told: tuple[str, str] | None
) -> None:
    if await users.by_mail(link, email) is not None:
        raise Refused(422, "email_exists", "A user with this email address has already been registered")
    if service.policy.autoconfirm:
        await users.move(link, user["id"], email)
    else:
        await mailings.send_change(service, link, user, email, redirect, told)
