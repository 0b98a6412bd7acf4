"""Links and codes of mails, used."""

from __future__ import annotations

from typing import Any

import psycopg
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from app.auth import audit, bodies, flows, metrics, onetime, redirects, sessions, users
from app.auth.context import Origin, Service, origin, service
from app.auth.database import Connection, Row, every, one
from app.auth.errors import Refused, invalid

ACCEPTED = "Confirmation link accepted. Please proceed to confirm link sent to the other email"
EXPIRED = "Email link is invalid or has expired"


async def by_post(request: Request) -> Response:
    """By a link's token (``token_hash``) or by address and code; answers a session."""
    me, here, body = service(request), origin(request), await bodies.read(request)
    kinds = _kinds(body.required("type"))
    await me.limits.count("verify_address", here.address or "")
    email, code, token = body.mail(), body.text("token", longest=255), body.text("token_hash", longest=255)
    if "phone" in body:
        raise Refused(400, "phone_provider_disabled", "Unsupported phone provider")
    if bool(token) == bool(code and email):
        raise invalid("Only the token_hash, or the token with the email it was sent to, should be provided")
    if email:
        await me.limits.count("verify_account", email)
    async with me.database.transaction() as link:
        if token:
            found = await onetime.by_token(link, token, kinds)
        else:
            found = await _by_code(me, link, email, kinds, code)
        done = await _apply(me, link, found, here) if found else await _refuse(me, link, email, here)
        if not isinstance(done, Refused | str):
            opened = await sessions.opened(link, done["id"], "otp", here)
    if isinstance(done, Refused):
        metrics.SIGN_INS.labels("otp", "refused").inc()
        raise done
    if isinstance(done, str):
        return JSONResponse({"msg": done, "code": "200"})
    metrics.SIGN_INS.labels("otp", "done").inc()
    return JSONResponse(sessions.answer(me, opened))


async def by_link(request: Request) -> Response:
    """What the link in a mail leads to: on to the page that it names, with a session or a code for one."""
    if request.method == "HEAD":
        # Who looks at links in mails, and follows none, does not use them up.
        return Response()
    me, here, asked = service(request), origin(request), request.query_params
    target = redirects.chosen(me.policy, asked.get("redirect_to", ""))
    token = asked.get("token", "") or asked.get("token_hash", "")
    try:
        parameters = await _follow(me, here, token, asked.get("type", ""))
    except Refused as refused:
        told = {
            "error": "access_denied",
            "error_code": refused.code,
            "error_description": refused.message,
        }
        if token.startswith("pkce_"):
            target = redirects.with_query(target, **told)
        return _onward(redirects.with_fragment(target, **told, sb=""))
    if "code" in parameters:
        return _onward(redirects.with_query(target, **parameters))
    return _onward(redirects.with_fragment(target, **parameters))


async def _follow(service: Service, origin: Origin, token: str, kind: str) -> dict[str, Any]:
    """What the page is told: a code, a session, or a message."""
    kinds = _kinds(kind)
    if not token or len(token) > 255:
        raise Refused(403, "otp_expired", EXPIRED)
    await service.limits.count("verify_address", origin.address or "")
    async with service.database.transaction() as link:
        found = await onetime.by_token(link, token, kinds)
        done = await _apply(service, link, found, origin) if found else await _refuse(service, link, "", origin)
        if found and not isinstance(done, Refused | str):
            if found["flow_id"]:
                return {"code": await flows.code(link, found["flow_id"])}
            opened = await sessions.opened(link, done["id"], "otp", origin)
    if isinstance(done, Refused):
        raise done
    if isinstance(done, str):
        return {"message": done, "sb": ""}
    made = sessions.answer(service, opened)
    shown = ("access_token", "expires_at", "expires_in", "refresh_token")
    return {**{name: made[name] for name in shown}, "sb": "", "token_type": "bearer", "type": kind}


async def _by_code(service: Service, link: Connection, email: str, kinds: tuple[str, ...], code: str) -> Row | None:
    user = await users.by_mail(link, email)
    asked = [user["id"]] if user else []
    if onetime.CHANGE_NEW in kinds:
        # The new address is nobody's yet: it may be any account's that wants it.
        wanting = "select id from auth.users where email_change = %(email)s limit 20"
        asked += [row["id"] for row in await every(link, wanting, {"email": email})]
    return await onetime.by_code(link, service.keys, asked, kinds, code, email)


async def _refuse(service: Service, link: Connection, email: str, origin: Origin) -> Refused:
    if email:
        user = await users.by_mail(link, email)
        if user is None:
            await audit.stranger(link, service.keys, email, "verification", address=origin.address)
        else:
            await audit.add(link, user["id"], "verification", address=origin.address, refused=True)
    return Refused(403, "otp_expired", EXPIRED if not email else "Token has expired or is invalid")


async def _apply(service: Service, link: Connection, found: Row, origin: Origin) -> Row | str | Refused:
    """Carry out what a token was good for: the account that may sign in, or what is still missing."""
    user = await users.locked(link, found["user_id"])
    if user is None or user["banned"]:
        return Refused(403, "user_banned", "User is banned")
    if found["token_type"] in (onetime.CHANGE_NEW, onetime.CHANGE_CURRENT):
        return await _change_address(service, link, user, found, origin)
    if found["relates_to"] != user["email"]:
        return Refused(403, "otp_expired", EXPIRED)
    if not user["email_confirmed_at"]:
        if found["token_type"] == onetime.RECOVERY:
            # Whoever set the password need not be who reads the mails: this was not the answer to that sign-up.
            await users.change(link, user["id"], encrypted_password=None)
        await users.confirm(link, user["id"])
        await audit.add(link, user["id"], "address_confirmed", address=origin.address, actor=user["id"])
    return user


async def _change_address(
    service: Service, link: Connection, user: Row, found: Row, origin: Origin
) -> Row | str | Refused:
    other = onetime.CHANGE_CURRENT if found["token_type"] == onetime.CHANGE_NEW else onetime.CHANGE_NEW
    waiting = await one(
        link,
        "select from auth.one_time_tokens where user_id = %(user)s and token_type::text = %(kind)s",
        {"user": user["id"], "kind": other},
    )
    if not user["email_change"]:
        return Refused(403, "otp_expired", EXPIRED)
    if user["email"] and user["email_change_confirm_status"] == 0:
        if waiting is None:
            return Refused(403, "otp_expired", EXPIRED)
        await users.change(link, user["id"], email_change_confirm_status=1)
        return ACCEPTED
    try:
        async with link.transaction():
            await users.move(link, user["id"], user["email_change"])
    except psycopg.errors.UniqueViolation:
        return Refused(422, "email_exists", "A user with this email address has already been registered")
    await onetime.drop(link, user["id"], onetime.CHANGE_NEW, onetime.CHANGE_CURRENT, onetime.RECOVERY)
    await audit.add(link, user["id"], "address_changed", address=origin.address, actor=user["id"])
    return user


def _kinds(told: str) -> tuple[str, ...]:
    found = onetime.TYPES.get(told)
    if found is None:
        raise invalid("Verify requires a verification type")
    return found


def _onward(url: str) -> Response:
    return RedirectResponse(
        url, status_code=303, headers={"referrer-policy": "no-referrer", "cache-control": "no-store"}
    )
