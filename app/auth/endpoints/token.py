"""Signing in by password, and exchanging refresh tokens."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.auth import audit, bodies, families, flows, metrics, sessions, users
from app.auth.context import Origin, Service, origin, service
from app.auth.database import Row, run
from app.auth.endpoints import absent
from app.auth.errors import Refused, invalid
from app.auth.settings import SIGN_IN


async def token(request: Request) -> Response:
    """``grant_type`` says by what."""
    grants = {"password": by_password, "refresh_token": by_refresh_token, "pkce": by_code}
    wanted = request.query_params.get("grant_type", "")
    if wanted in absent.GRANTS:
        raise Refused(*absent.GRANTS[wanted])
    grant = grants.get(wanted)
    if grant is None:
        raise Refused(400, "invalid_credentials", "unsupported_grant_type")
    body = await bodies.read(request)
    opened = await grant(service(request), body, origin(request))
    return JSONResponse(sessions.answer(service(request), opened))


async def by_password(service: Service, body: bodies.Body, origin: Origin) -> sessions.Opened:
    """A new session for whoever knows the password. Unknown accounts cost the same and are answered the same."""
    if "phone" in body:
        raise Refused(400, "phone_provider_disabled", "Phone logins are disabled")
    email, password = body.mail(), body.required("password")
    if not email:
        raise invalid("missing email or phone")
    pair = f"{email} {origin.address}"
    await service.limits.count("sign_in_address", origin.address or "")
    await service.limits.count("sign_in_pair", pair)
    for name in SIGN_IN:
        await service.limits.count(name, email)
    async with service.database.connection() as link:
        found = await users.by_mail(link, email)
    known = found["encrypted_password"] if found else None
    if not await service.hasher.check(password, known or None) or found is None:
        async with service.database.transaction() as link:
            if found is None:
                await audit.stranger(link, service.keys, email, "sign_in", address=origin.address, method="password")
            else:
                about = found["id"]
                await audit.add(link, about, "sign_in", address=origin.address, refused=True, method="password")
        metrics.SIGN_INS.labels("password", "refused").inc()
        raise Refused(400, "invalid_credentials", "Invalid login credentials")
    if found["banned"]:
        raise Refused(400, "user_banned", "User is banned")
    if not found["email_confirmed_at"]:
        raise Refused(400, "email_not_confirmed", "Email not confirmed")
    known = await _stronger(service, found, password)
    async with service.database.transaction() as link:
        opened = await sessions.opened(link, found["id"], "password", origin, password=known)
    await service.limits.forget(pair, "sign_in_pair")
    await service.limits.forget(email, *SIGN_IN)
    metrics.SIGN_INS.labels("password", "done").inc()
    return opened


async def _stronger(service: Service, user: Row, password: str) -> str:
    """The hash of the account, made anew where it is weaker than what is wanted today."""
    known = str(user["encrypted_password"])
    if not service.hasher.weaker(known):
        return known
    made = await service.hasher.make(password)
    async with service.database.transaction() as link:
        changed = await run(
            link,
            "update auth.users set encrypted_password = %(made)s where id = %(id)s and encrypted_password = %(known)s",
            {"made": made, "id": user["id"], "known": known},
        )
    return made if changed else known


async def by_refresh_token(service: Service, body: bodies.Body, origin: Origin) -> sessions.Opened:
    """The same session with new tokens."""
    told = body.required("refresh_token", longest=255)
    found = await families.refreshed(service, told, origin)
    if isinstance(found, Refused):
        metrics.REFRESHES.labels(found.code).inc()
        # A good one is nobody's guess: only what is refused is counted.
        await service.limits.count("refresh_address", origin.address or "")
        raise found
    metrics.REFRESHES.labels("done").inc()
    return found


async def by_code(service: Service, body: bodies.Body, origin: Origin) -> sessions.Opened:
    """A new session for the code of a sign-in by PKCE, and whoever knows its verifier."""
    code, verifier = body.text("auth_code", longest=255), body.text("code_verifier", longest=255)
    if not code or not verifier:
        raise invalid("invalid request: both auth code and code verifier should be non-empty")
    await service.limits.count("verify_address", origin.address or "")
    async with service.database.transaction() as link:
        taken = await flows.take(link, code, verifier)
    if isinstance(taken, Refused):
        metrics.SIGN_INS.labels("pkce", "refused").inc()
        raise taken
    user, method = taken
    async with service.database.transaction() as link:
        opened = await sessions.opened(link, user, method, origin)
    metrics.SIGN_INS.labels("pkce", "done").inc()
    return opened
