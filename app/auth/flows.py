"""Sign-ins by PKCE (RFC 7636): a code is handed out for the challenge, and exchanged by whoever knows its verifier."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from typing import Any
from uuid import UUID, uuid4

from app.auth.bodies import Body
from app.auth.database import Connection, one, run
from app.auth.errors import Refused, invalid
from app.auth.keys import digest, new_token

SECONDS = 300
"""How long a code may be exchanged."""

_BEGIN = """
insert into auth.flow_state (id, user_id, code_challenge, code_challenge_method, provider_type, authentication_method)
values (%(id)s, %(user)s, %(challenge)s, %(method)s, 'email', %(by)s)
"""

_TAKE = """
delete from auth.flow_state where auth_code = %(code)s
returning user_id, code_challenge, code_challenge_method::text as method, authentication_method,
    auth_code_issued_at > now() - make_interval(secs => %(seconds)s) as lately
"""

_CHALLENGE = re.compile(r"[A-Za-z0-9._~-]{43,128}")


def challenge(body: Body) -> tuple[str, str] | None:
    """Challenge and method of a request; None where it is no sign-in by PKCE.

    Raises:
        Refused: one of the two is missing or malformed.
    """
    told, method = body.text("code_challenge"), body.text("code_challenge_method").lower()
    if not told and not method:
        return None
    if not told or not method:
        raise invalid("PKCE flow requires code_challenge_method and code_challenge")
    if method not in ("s256", "plain"):
        raise invalid("code challenge method must be s256 or plain")
    if not _CHALLENGE.fullmatch(told):
        raise invalid("code challenge has to be between 43 and 128 letters, digits, '-', '.', '_' and '~'")
    return told, method


async def begin(link: Connection, user: UUID, told: tuple[str, str] | None, by: str) -> UUID | None:
    """A flow of an account; None where the request is no sign-in by PKCE."""
    if told is None:
        return None
    flow = uuid4()
    values: dict[str, Any] = {"id": flow, "user": user, "challenge": told[0], "method": told[1], "by": by}
    await run(link, _BEGIN, values)
    return flow


async def code(link: Connection, flow: UUID) -> str:
    """The code that is exchanged for a session.

    Raises:
        Refused: the flow is gone.
    """
    made = new_token()
    changed = await run(
        link,
        "update auth.flow_state set auth_code = %(code)s, auth_code_issued_at = now(), updated_at = now()"
        " where id = %(id)s and auth_code is null",
        {"code": digest(made), "id": flow},
    )
    if not changed:
        raise Refused(403, "flow_state_expired", "invalid flow state, flow state has expired")
    return made


async def take(link: Connection, told: str, verifier: str) -> tuple[UUID, str] | Refused:
    """The account and the means of a code, which is used up whatever comes of it: commit also what is refused."""
    found = await one(link, _TAKE, {"code": digest(told), "seconds": SECONDS})
    if found is None:
        return Refused(404, "flow_state_not_found", "invalid flow state, no valid flow state found")
    if not found["lately"]:
        return Refused(403, "flow_state_expired", "invalid flow state, flow state has expired")
    shown = verifier
    if found["method"] == "s256":
        shown = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    if not hmac.compare_digest(shown.encode(), found["code_challenge"].encode()):
        return Refused(400, "bad_code_verifier", "code challenge does not match previously saved code verifier")
    return found["user_id"], found["authentication_method"]
