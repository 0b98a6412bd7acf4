"""Second factors of whoever asks: enrolled, challenged, verified, taken away."""

from __future__ import annotations

import io
from uuid import UUID

import segno
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.auth import audit, bodies, factors, metrics, sessions, totp
from app.auth.bodies import identity
from app.auth.context import caller, origin, service
from app.auth.database import Row
from app.auth.errors import Refused, invalid
from app.auth.settings import FACTOR


async def enroll(request: Request) -> Response:
    """An authenticator, which counts once a code of it was given."""
    me, who, here, body = service(request), caller(request), origin(request), await bodies.read(request)
    kind, name = body.text("factor_type"), body.text("friendly_name", longest=100)
    if kind in ("phone", "webauthn"):
        raise Refused(422, f"mfa_{kind}_enroll_not_enabled", f"MFA enroll is disabled for {kind}")
    if kind != "totp":
        raise invalid("factor_type needs to be totp, phone, or webauthn")
    issuer = body.text("issuer", longest=100) or me.policy.name
    async with me.database.transaction() as link:
        user = await sessions.live(me, link, who)
        if user["is_anonymous"]:
            raise Refused(403, "no_authorization", "Anonymous user not allowed to perform these actions")
        if verified(user) and user["session_aal"] == "aal1":
            raise Refused(403, "insufficient_aal", "AAL2 required to enroll a new factor")
        factor, secret = await factors.enrolled(link, me.keys, user, name)
        await audit.add(link, who.user, "factor_enrolled", address=here.address, actor=who.user, factor=str(factor))
    uri = totp.uri(secret, issuer, user["email"] or str(who.user))
    told = {"qr_code": _qr(uri), "secret": secret, "uri": uri}
    return JSONResponse({"id": str(factor), "type": "totp", "friendly_name": name, "totp": told})


async def challenge(request: Request) -> Response:
    """A question that a code answers."""
    me, who, here, factor = service(request), caller(request), origin(request), _factor(request)
    async with me.database.transaction() as link:
        await sessions.live(me, link, who)
        held = await factors.found(link, who.user, factor)
        if held["kind"] != "totp":
            raise factors.missing()
        asked = await factors.challenged(link, factor, here.address)
    return JSONResponse({"id": str(asked["id"]), "type": "totp", "expires_at": asked["expires_at"]})


async def verify(request: Request) -> Response:
    """The answer: the session is at ``aal2`` from now on."""
    me, who, here, factor = service(request), caller(request), origin(request), _factor(request)
    body = await bodies.read(request)
    told, code = body.identity("challenge_id"), body.text("code", longest=64)
    if told is None or not code:
        raise invalid("challenge_id and code are required")
    for name in FACTOR:
        await me.limits.count(name, str(who.user))
    async with me.database.transaction() as link:
        await sessions.live(me, link, who)
        held = await factors.found(link, who.user, factor)
        if held["kind"] != "totp":
            raise factors.missing()
        good = await factors.accepts(link, me.keys, held, code)
        if good:
            await factors.answered(link, factor, told)
            opened = await sessions.raised(me, link, who, factor, "totp")
        await audit.add(
            link,
            who.user,
            "factor_verified",
            address=here.address,
            actor=who.user,
            refused=not good,
            factor=str(factor),
        )
    metrics.SIGN_INS.labels("totp", "done" if good else "refused").inc()
    if not good:
        raise Refused(422, "mfa_verification_failed", "Invalid TOTP code entered")
    await me.limits.forget(str(who.user), *FACTOR)
    return JSONResponse(sessions.answer(me, opened))


async def unenroll(request: Request) -> Response:
    me, who, here, factor = service(request), caller(request), origin(request), _factor(request)
    async with me.database.transaction() as link:
        user = await sessions.live(me, link, who)
        held = await factors.found(link, who.user, factor)
        if held["status"] == "verified" and user["session_aal"] == "aal1":
            raise Refused(422, "insufficient_aal", "AAL2 required to unenroll verified factor")
        await factors.removed(link, who.user, factor)
        await audit.add(link, who.user, "factor_removed", address=here.address, actor=who.user, factor=str(factor))
    return JSONResponse({"id": str(factor)})


def verified(user: Row) -> bool:
    """Whether the account has a second factor."""
    return any(factor["status"] == "verified" for factor in user["factors"])


def _factor(request: Request) -> UUID:
    try:
        return identity(request.path_params["factor"], "factor_id")
    except Refused:
        raise Refused(404, "validation_failed", "factor_id must be an UUID") from None


def _qr(uri: str) -> str:
    """As SVG."""
    out = io.BytesIO()
    segno.make(uri, error="m", micro=False).save(out, kind="svg", xmldecl=False, svgns=True, scale=4)
    return out.getvalue().decode().strip()
