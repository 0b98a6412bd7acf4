"""New accounts."""

from __future__ import annotations

import datetime
import json
from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.auth import audit, bodies, flows, outbox, policy, sessions, users
from app.auth.bodies import Body
from app.auth.context import Origin, Service, origin, service
from app.auth.database import Connection, Row, one
from app.auth.endpoints import mailings
from app.auth.errors import Refused, invalid
from app.auth.outbox import Letter


async def signup(request: Request) -> Response:
    """An account by address and password, or an anonymous one where that is allowed."""
    body, here = await bodies.read(request), origin(request)
    if "phone" in body:
        raise Refused(400, "phone_provider_disabled", "Phone signups are disabled")
    if not service(request).policy.signup:
        raise Refused(422, "signup_disabled", "Signups not allowed for this instance")
    if not body.mail():
        return JSONResponse(await _anonymous(service(request), body, here))
    return JSONResponse(await _by_mail(service(request), body, here, mailings.redirect(request)))


async def _anonymous(service: Service, body: Body, origin: Origin) -> dict[str, Any]:
    if not service.policy.anonymous:
        raise Refused(422, "anonymous_provider_disabled", "Anonymous sign-ins are disabled")
    await service.limits.count("anonymous_address", origin.address or "")
    async with service.database.transaction() as link:
        made = await users.add(
            link, audience=service.policy.audience, email=None, password=None, meta=body.metadata("data")
        )
        assert made is not None
        await audit.add(link, made["id"], "signed_up", address=origin.address, actor=made["id"], method="anonymous")
        opened = await sessions.opened(link, made["id"], "anonymous", origin)
    return sessions.answer(service, opened)


async def _by_mail(service: Service, body: Body, origin: Origin, redirect: str) -> dict[str, Any]:
    email, password, meta = body.mail(), body.text("password"), body.metadata("data")
    told = flows.challenge(body)
    if not password:
        raise invalid("Signup requires a valid password")
    policy.refuse_weak(password, service.policy.password_single, (service.policy.name, email))
    await service.limits.count("sign_up_address", origin.address or "")
    at_once = service.policy.autoconfirm
    if not at_once:
        await mailings.count(service, origin, email, "signup")
    async with service.database.connection() as link:
        there = await users.by_mail(link, email)
    waiting = there["encrypted_password"] if there and not there["email_confirmed_at"] else None
    same = await service.hasher.check(password, waiting)
    known = await service.hasher.make(password)
    async with service.database.transaction() as link:
        made = await users.add(
            link, audience=service.policy.audience, email=email, password=known, meta=meta, confirmed=at_once
        )
        if made is None:
            if at_once:
                raise Refused(422, "user_already_exists", "User already registered")
            await _again(service, link, email, redirect, told, origin, meta, same)
            return users.document(await _nobody(service, link, email, meta))
        await audit.add(link, made["id"], "signed_up", address=origin.address, actor=made["id"], method="email")
        if at_once:
            return sessions.answer(service, await sessions.opened(link, made["id"], "password", origin))
        await mailings.send(service, link, made, "signup", email, redirect=redirect, challenge=told)
        made = await users.by_id(link, made["id"])
    assert made is not None
    return users.document(made)


async def _again(
    service: Service,
    link: Connection,
    email: str,
    redirect: str,
    told: tuple[str, str] | None,
    origin: Origin,
    meta: dict[str, Any],
    same: bool,
) -> None:
    """A sign-up for an address that has an account: whoever reads its mails learns of it, nobody else.

    Where two sign-ups wait for the same address with two passwords, it is not known whose is the reader's: then neither
    counts, and the link lets the reader in to set one.
    """
    user = await users.by_mail(link, email)
    if user is None:
        return
    if user["email_confirmed_at"]:
        letter = Letter(kind="account_exists", to=email)
        await outbox.put(link, service.policy, service.keys, user["id"], letter)
    else:
        if not same:
            await users.change(link, user["id"], encrypted_password=None, raw_user_meta_data=users.told(user, meta))
        await mailings.send(service, link, user, "signup", email, redirect=redirect, challenge=told)
    await audit.add(link, user["id"], "sign_up", address=origin.address, refused=True, method="email")


async def _nobody(service: Service, link: Connection, email: str, meta: dict[str, Any]) -> Row:
    """What a sign-up for an address that has an account is answered: nothing tells it from a new account."""
    now, made = datetime.datetime.now(datetime.UTC), uuid4()
    known = {"email": email, "email_verified": False, "phone_verified": False, "sub": str(made)}
    # As the database would give it back, in its order of keys.
    kept = await one(link, "select %(told)s::jsonb as told", {"told": json.dumps({**meta, **known})})
    told = kept["told"] if kept else {}
    identity = {
        "identity_id": str(uuid4()),
        "id": str(made),
        "user_id": str(made),
        "identity_data": told,
        "provider": "email",
        "last_sign_in_at": now.isoformat(),
        "created_at": now.isoformat(),
        "updated_at": now.isoformat(),
        "email": email,
    }
    empty = dict.fromkeys((*users.TIMES, "phone", "email_change"))
    return empty | {
        "id": made,
        "aud": service.policy.audience,
        "role": "authenticated",
        "email": email,
        "confirmation_sent_at": now,
        "raw_app_meta_data": {"provider": "email", "providers": ["email"]},
        "raw_user_meta_data": told,
        "factors": [],
        "identities": [identity],
        "created_at": now,
        "updated_at": now,
        "is_anonymous": False,
    }
