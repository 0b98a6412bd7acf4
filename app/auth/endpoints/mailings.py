"""Asking for a mail: recovery, a link or code to sign in, the same mail again, a code to prove who one is."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.auth import audit, flows, onetime, outbox, redirects, sessions, users
from app.auth.bodies import Body
from app.auth.bodies import read as read_body
from app.auth.context import Origin, Service, caller, origin, service
from app.auth.database import Connection, Row
from app.auth.errors import Refused, invalid
from app.auth.outbox import Letter

TOO_OFTEN = "over_email_send_rate_limit"


def redirect(request: Request, body: Body | None = None) -> str:
    """Where the link shall lead, as far as it may."""
    asked = request.query_params.get("redirect_to") or request.headers.get("redirect_to", "")
    if not asked and body is not None:
        asked = body.text("redirect_to")
    return redirects.chosen(service(request).policy, asked)


async def count(service: Service, origin: Origin, email: str, kind: str) -> None:
    """One more mail to an address, whether it has an account or not.

    Raises:
        Refused: it was asked for too often.
    """
    await service.limits.count("mail_address", origin.address or "", code=TOO_OFTEN)
    await service.limits.count("mail_account", f"{kind} {email}", code=TOO_OFTEN)
    await service.limits.count("mail_day", email, code=TOO_OFTEN)


async def send(
    service: Service,
    link: Connection,
    user: Row,
    kind: str,
    to: str,
    *,
    redirect: str,
    challenge: tuple[str, str] | None = None,
) -> None:
    """Issue a token and write the mail that carries it.

    Args:
        kind: ``signup``, ``magiclink``, ``recovery``, ``invite`` or ``reauthentication``.
        challenge: of a sign-in by PKCE.
    """
    await onetime.hold(link, user["id"])
    token, letter, column = _KINDS[kind]
    flow = await flows.begin(link, user["id"], challenge, "otp")
    issued = await onetime.issue(link, service.keys, user["id"], token, to, service.policy.link_seconds, flow)
    verification = "" if kind == "reauthentication" else kind
    mail = Letter(kind=letter, to=to, issued=issued, verification=verification, redirect=redirect)
    await outbox.put(link, service.policy, service.keys, user["id"], mail)
    await users.sent(link, user["id"], column)


_KINDS = {
    "signup": (onetime.CONFIRMATION, "confirmation", "confirmation_sent_at"),
    "invite": (onetime.CONFIRMATION, "invite", "confirmation_sent_at"),
    "magiclink": (onetime.RECOVERY, "magic_link", "recovery_sent_at"),
    "recovery": (onetime.RECOVERY, "recovery", "recovery_sent_at"),
    "reauthentication": (onetime.REAUTHENTICATION, "reauthentication", "reauthentication_sent_at"),
}


async def recover(request: Request) -> Response:
    """A mail for a new password. The answer is the same where there is no account, and as quick."""
    body, here, me = await read_body(request), origin(request), service(request)
    email, told, target = body.mail(), flows.challenge(body), redirect(request, body)
    if not email:
        raise invalid("Password recovery requires an email")
    await count(me, here, email, "recovery")
    async with me.database.connection() as link:
        user = await users.by_mail(link, email)

    async def write() -> None:
        async with me.database.transaction() as link:
            if user is not None and not user["banned"]:
                await send(me, link, user, "recovery", email, redirect=target, challenge=told)
                await audit.add(link, user["id"], "recovery_asked", address=here.address)

    me.later.begin(write)
    return JSONResponse({})


async def otp(request: Request) -> Response:
    """A mail with link and code to sign in by; makes an account where ``create_user`` does not say no."""
    body, here, me = await read_body(request), origin(request), service(request)
    if "phone" in body:
        raise Refused(400, "phone_provider_disabled", "Unsupported phone provider")
    email, told, meta, target = body.mail(), flows.challenge(body), body.metadata("data"), redirect(request, body)
    if not email:
        raise invalid("One of email or phone must be set")
    create = body.flag("create_user", True) and me.policy.signup
    await count(me, here, email, "magiclink")
    async with me.database.connection() as link:
        await users.by_mail(link, email)

    async def write() -> None:
        async with me.database.transaction() as link:
            user = await users.by_mail(link, email)
            if user is None and create:
                user = await users.add(link, audience=me.policy.audience, email=email, password=None, meta=meta)
                if user is not None:
                    await audit.add(link, user["id"], "signed_up", address=here.address, actor=user["id"], method="otp")
            if user is not None and not user["banned"]:
                # Where a sign-up with a password waits for its own answer, that one stays as it is.
                fresh = not user["email_confirmed_at"] and not user["encrypted_password"]
                kind = "signup" if fresh else "magiclink"
                await send(me, link, user, kind, email, redirect=target, challenge=told)
                await audit.add(link, user["id"], "link_asked", address=here.address)

    me.later.begin(write)
    return JSONResponse({})


async def resend(request: Request) -> Response:
    """The mail of a sign-up or of a change of address once more, where it still waits for an answer."""
    body, here, me = await read_body(request), origin(request), service(request)
    kind, email, target = body.required("type"), body.mail(), redirect(request, body)
    if kind not in ("signup", "email_change"):
        raise invalid("Only signup and email_change mails are sent again")
    if not email:
        raise invalid("Type provided requires an email address")
    await count(me, here, email, kind)
    async with me.database.connection() as link:
        user = await users.by_mail(link, email)

    async def write() -> None:
        async with me.database.transaction() as link:
            if user is not None and kind == "signup" and not user["email_confirmed_at"]:
                await send(me, link, user, "signup", email, redirect=target)
            if user is not None and kind == "email_change" and user["email_change"]:
                await send_change(me, link, user, user["email_change"], target)

    me.later.begin(write)
    return JSONResponse({})


async def send_change(
    service: Service, link: Connection, user: Row, new: str, redirect: str, challenge: tuple[str, str] | None = None
) -> None:
    """Mails to the former and to the new address; both have to agree."""
    await onetime.hold(link, user["id"])
    flow = await flows.begin(link, user["id"], challenge, "email_change")
    ends = [(onetime.CHANGE_NEW, new)]
    if user["email"]:
        ends.append((onetime.CHANGE_CURRENT, user["email"]))
    for kind, to in ends:
        issued = await onetime.issue(link, service.keys, user["id"], kind, to, service.policy.link_seconds, flow)
        mail = Letter(
            kind="email_change", to=to, issued=issued, verification="email_change", redirect=redirect, new=new
        )
        await outbox.put(link, service.policy, service.keys, user["id"], mail)
    await users.change(link, user["id"], email_change=new, email_change_confirm_status=0)
    await users.sent(link, user["id"], "email_change_sent_at")


async def reauthenticate(request: Request) -> Response:
    """A mail with a code that a change of password may need."""
    me, who, here = service(request), caller(request), origin(request)
    async with me.database.connection() as link:
        user = await sessions.live(me, link, who)
    if not user["email"]:
        raise Refused(422, "validation_failed", "Reauthentication requires the user to have an email")
    await count(me, here, user["email"], "reauthentication")
    async with me.database.transaction() as link:
        user = await sessions.live(me, link, who)
        await send(me, link, user, "reauthentication", user["email"], redirect="")
        await audit.add(link, who.user, "reauthentication_asked", address=here.address, actor=who.user)
    return JSONResponse({})
