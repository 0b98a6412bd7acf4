"""Invitations, and links that whoever has the service key hands out by other ways than mail."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.auth import audit, bodies, onetime, outbox, policy, users
from app.auth.bodies import Body
from app.auth.context import Service, origin, require_admin, service
from app.auth.database import Connection, Row
from app.auth.endpoints import mailings
from app.auth.endpoints.admin import BY, TAKEN
from app.auth.errors import Refused, invalid
from app.auth.outbox import Letter

_KINDS = {
    "signup": (onetime.CONFIRMATION, "signup"),
    "invite": (onetime.CONFIRMATION, "invite"),
    "magiclink": (onetime.RECOVERY, "magiclink"),
    "recovery": (onetime.RECOVERY, "recovery"),
    "email_change_new": (onetime.CHANGE_NEW, "email_change"),
    "email_change_current": (onetime.CHANGE_CURRENT, "email_change"),
}


async def invite(request: Request) -> Response:
    """An account that waits for whoever reads the mail."""
    require_admin(request)
    me, here, body = service(request), origin(request), await bodies.read(request)
    email, meta = body.mail(), body.metadata("data")
    if not email:
        raise invalid("An email address is required")
    async with me.database.transaction() as link:
        user = await _invited(me, link, email, body)
        await mailings.send(me, link, user, "invite", email, redirect=mailings.redirect(request, body))
        await users.sent(link, user["id"], "invited_at")
        await audit.add(link, user["id"], "invited", address=here.address, by=BY, metadata=sorted(meta)[:20])
        found = await users.by_id(link, user["id"])
    assert found is not None
    return JSONResponse(users.document(found))


async def generate(request: Request) -> Response:
    """A link and a code of a mail that is not sent."""
    require_admin(request)
    me, here, body = service(request), origin(request), await bodies.read(request)
    kind, email, new = body.required("type"), body.mail(), body.mail("new_email")
    if kind not in _KINDS:
        raise invalid("type must be one of " + ", ".join(sorted(_KINDS)))
    if not email:
        raise invalid("An email address is required")
    if kind.startswith("email_change") and not new:
        raise invalid("new_email is required")
    password = await _password(me, body, email) if kind == "signup" else None
    redirect = mailings.redirect(request, body)
    token, verification = _KINDS[kind]
    async with me.database.transaction() as link:
        user = await _addressee(me, link, kind, email, new, password, body)
        to = new if kind == "email_change_new" else email
        issued = await onetime.issue(link, me.keys, user["id"], token, to, me.policy.link_seconds)
        await audit.add(link, user["id"], "link_generated", address=here.address, by=BY, type=kind)
        found = await users.by_id(link, user["id"])
    assert found is not None
    letter = Letter(kind=kind, to=to, issued=issued, verification=verification, redirect=redirect)
    told = {
        "action_link": outbox.link_of(me.policy, letter),
        "email_otp": issued.code,
        "hashed_token": issued.token,
        "verification_type": kind,
        "redirect_to": redirect,
    }
    return JSONResponse(users.document(found) | told)


async def _addressee(
    me: Service, link: Connection, kind: str, email: str, new: str, password: str | None, body: Body
) -> Row:
    """The account that a link is for, made where its kind makes one."""
    user = await users.by_mail(link, email)
    if kind == "invite":
        return await _invited(me, link, email, body)
    if kind == "signup" and (user is None or not user["email_confirmed_at"]):
        if user is not None:
            await users.change(link, user["id"], encrypted_password=password)
            return user
        return await _made(me, link, email, password, body)
    if kind == "signup":
        raise Refused(422, "email_exists", TAKEN)
    if user is None and kind == "magiclink":
        return await _made(me, link, email, None, body)
    if user is None:
        raise Refused(404, "user_not_found", "User with this email not found")
    if kind.startswith("email_change"):
        if await users.by_mail(link, new) is not None:
            raise Refused(422, "email_exists", TAKEN)
        await users.change(link, user["id"], email_change=new, email_change_confirm_status=0)
        await users.sent(link, user["id"], "email_change_sent_at")
    return user


async def _invited(me: Service, link: Connection, email: str, body: Body) -> Row:
    user = await users.by_mail(link, email)
    if user is not None and user["email_confirmed_at"]:
        raise Refused(422, "email_exists", TAKEN)
    if user is None:
        return await _made(me, link, email, None, body)
    if user["encrypted_password"]:
        # A stranger's sign-up for this address: the invited one sets their own.
        await users.change(link, user["id"], encrypted_password=None)
    return user


async def _made(me: Service, link: Connection, email: str, password: str | None, body: Body) -> Row:
    made = await users.add(
        link, audience=me.policy.audience, email=email, password=password, meta=body.metadata("data")
    )
    if made is None:
        raise Refused(422, "email_exists", TAKEN)
    return made


async def _password(me: Service, body: Body, email: str) -> str:
    password = body.text("password")
    if not password:
        raise invalid("Signup requires a valid password")
    policy.refuse_weak(password, me.policy.password_single, (me.policy.name, email))
    return await me.hasher.make(password)
