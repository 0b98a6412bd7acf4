"""New accounts."""

from __future__ import annotations

import datetime
from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.auth import audit, bodies, policy, sessions, users
from app.auth.bodies import Body
from app.auth.context import Origin, Service, origin, service
from app.auth.database import Row
from app.auth.errors import Refused, invalid


async def signup(request: Request) -> Response:
    """An account by address and password, or an anonymous one where that is allowed."""
    body, here = await bodies.read(request), origin(request)
    if "phone" in body:
        raise Refused(400, "phone_provider_disabled", "Phone signups are disabled")
    if not service(request).policy.signup:
        raise Refused(422, "signup_disabled", "Signups not allowed for this instance")
    if "email" not in body:
        return JSONResponse(await _anonymous(service(request), body, here))
    return JSONResponse(await _by_mail(service(request), body, here))


async def _anonymous(service: Service, body: Body, origin: Origin) -> dict[str, Any]:
    if not service.policy.anonymous:
        raise Refused(422, "anonymous_provider_disabled", "Anonymous sign-ins are disabled")
    await service.limits.count("anonymous_address", origin.address or "")
    async with service.database.transaction() as link:
        made = await users.add(link, audience=service.policy.audience, email=None, password=None, meta=metadata(body))
        assert made is not None
        await audit.add(link, made["id"], "signed_up", address=origin.address, actor=made["id"], method="anonymous")
        opened = await sessions.opened(link, made["id"], "anonymous", origin)
    return sessions.answer(service, opened)


async def _by_mail(service: Service, body: Body, origin: Origin) -> dict[str, Any]:
    email, password, meta = body.mail(), body.text("password"), metadata(body)
    if not password:
        raise invalid("Signup requires a valid password")
    policy.refuse_weak(password, service.policy.password_single, (service.policy.name, email))
    await service.limits.count("sign_up_address", origin.address or "")
    known = await service.hasher.make(password)
    at_once = service.policy.autoconfirm
    async with service.database.transaction() as link:
        made = await users.add(
            link, audience=service.policy.audience, email=email, password=known, meta=meta, confirmed=at_once
        )
        if made is not None:
            await audit.add(link, made["id"], "signed_up", address=origin.address, actor=made["id"], method="email")
            if at_once:
                return sessions.answer(service, await sessions.opened(link, made["id"], "password", origin))
            return users.document(made)
        if at_once:
            raise Refused(422, "user_already_exists", "User already registered")
    return users.document(_nobody(service, email, meta))


def metadata(body: Body) -> dict[str, Any]:
    """What somebody tells of themselves, without what the service alone may say."""
    told = body.object("data")
    return {key: value for key, value in told.items() if value is not None}


def _nobody(service: Service, email: str, meta: dict[str, Any]) -> Row:
    """What a sign-up for an address that has an account is answered: nothing tells it from a new account."""
    now, made = datetime.datetime.now(datetime.UTC), uuid4()
    told = {**meta, "email": email, "email_verified": False, "phone_verified": False, "sub": str(made)}
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
