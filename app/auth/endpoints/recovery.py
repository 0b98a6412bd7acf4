"""Recovery codes of whoever asks: made once, shown once, each good once."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.auth import audit, bodies, factors, metrics, sessions
from app.auth.context import Service, caller, origin, service
from app.auth.database import Connection, Row
from app.auth.errors import Refused
from app.auth.settings import FACTOR
from app.auth.tokens import Caller

KIND = "recovery_code"


async def status(request: Request) -> Response:
    """How many codes there are, and how many are left."""
    me, who = service(request), caller(request)
    async with me.database.transaction() as link:
        await sessions.live(me, link, who)
        held = await factors.codes_of(link, who.user)
    return JSONResponse({"id": str(held["id"]), "type": KIND, "total": held["total"], "remaining": held["remaining"]})


async def generate(request: Request) -> Response:
    """The codes, for an account that has another second factor."""
    me, who, here, body = service(request), caller(request), origin(request), await bodies.read(request)
    name = body.text("friendly_name", longest=100) or "Recovery codes"
    async with me.database.transaction() as link:
        user = await _strong(me, link, who)
        kinds = {factor["factor_type"] for factor in user["factors"] if factor["status"] == "verified"}
        if KIND in kinds:
            raise Refused(
                422, "mfa_verified_factor_exists", "There are recovery codes already, regenerate them instead"
            )
        if not kinds:
            raise Refused(422, "mfa_recovery_codes_sole_factor", "Recovery codes cannot be the only factor")
        factor = await factors.new_set(link, who.user, name)
        codes = await factors.new_codes(link, me.keys, who.user, factor)
        await audit.add(link, who.user, "recovery_codes_made", address=here.address, actor=who.user)
    return _shown(str(factor), name, codes)


async def regenerate(request: Request) -> Response:
    """New codes instead of all former ones."""
    me, who, here = service(request), caller(request), origin(request)
    async with me.database.transaction() as link:
        await _strong(me, link, who)
        held = await factors.codes_of(link, who.user)
        codes = await factors.new_codes(link, me.keys, who.user, held["id"])
        await audit.add(link, who.user, "recovery_codes_made", address=here.address, actor=who.user)
    await me.limits.forget(str(who.user), *FACTOR)
    return _shown(str(held["id"]), held["friendly_name"], codes)


async def verify(request: Request) -> Response:
    """One of the codes instead of the lost factor: the session is at ``aal2`` from now on."""
    me, who, here, body = service(request), caller(request), origin(request), await bodies.read(request)
    code = body.text("code", longest=200)
    if not code:
        raise Refused(422, "mfa_verification_failed", "Invalid recovery code entered")
    for name in FACTOR:
        await me.limits.count(name, str(who.user), code="mfa_recovery_codes_locked")
    async with me.database.transaction() as link:
        await sessions.live(me, link, who)
        held = await factors.codes_of(link, who.user)
        good = await factors.redeemed(link, me.keys, held["id"], code)
        if good:
            opened = await sessions.raised(me, link, who, held["id"], "mfa/recovery_code")
        await audit.add(link, who.user, "recovery_code_used", address=here.address, actor=who.user, refused=not good)
    metrics.SIGN_INS.labels("recovery_code", "done" if good else "refused").inc()
    if not good:
        raise Refused(422, "mfa_verification_failed", "Invalid recovery code entered")
    await me.limits.forget(str(who.user), *FACTOR)
    return JSONResponse(sessions.answer(me, opened))


async def remove(request: Request) -> Response:
    me, who, here = service(request), caller(request), origin(request)
    async with me.database.transaction() as link:
        await _strong(me, link, who)
        held = await factors.codes_of(link, who.user)
        await factors.removed(link, who.user, held["id"])
        await audit.add(link, who.user, "recovery_codes_removed", address=here.address, actor=who.user)
    return JSONResponse({"id": str(held["id"])})


async def _strong(service: Service, link: Connection, who: Caller) -> Row:
    user = await sessions.live(service, link, who)
    if user["session_aal"] == "aal1":
        raise Refused(403, "insufficient_aal", "AAL2 required to handle recovery codes")
    return user


def _shown(factor: str, name: str, codes: list[str]) -> Response:
    return JSONResponse({"id": factor, "type": KIND, "friendly_name": name, "total": len(codes), "codes": codes})
