"""What a mail lets its reader do once: by the link's token, or by the code of six digits in it."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from uuid import UUID, uuid4

from app.auth.database import Connection, Row, one, run
from app.auth.keys import Keys, digest, new_token

CONFIRMATION = "confirmation_token"
RECOVERY = "recovery_token"
CHANGE_NEW = "email_change_token_new"
CHANGE_CURRENT = "email_change_token_current"
REAUTHENTICATION = "reauthentication_token"

TYPES = {
    "signup": (CONFIRMATION,),
    "invite": (CONFIRMATION,),
    "magiclink": (RECOVERY,),
    "recovery": (RECOVERY,),
    "email_change": (CHANGE_NEW, CHANGE_CURRENT),
    "email": (CONFIRMATION, RECOVERY),
}
"""Which tokens are good for what clients call a type of verification."""

GUESSES = 5
"""Wrong codes after which a token is good no more."""

_ISSUE = """
insert into auth.one_time_tokens (id, user_id, token_type, token_hash, relates_to, code_hash, expires_at, flow_id)
values (%(id)s, %(user)s, %(kind)s, %(hash)s, %(address)s, %(code)s,
        now() + make_interval(secs => %(seconds)s), %(flow)s)
on conflict (user_id, token_type) do update set id = excluded.id, token_hash = excluded.token_hash,
    relates_to = excluded.relates_to, code_hash = excluded.code_hash, expires_at = excluded.expires_at,
    flow_id = excluded.flow_id, attempts = 0, created_at = excluded.created_at, updated_at = excluded.updated_at
"""

# Whoever changes an account and its tokens locks the account first, so that no two wait for each other.
_HOLD = "select from auth.users where id = any (%(users)s) order by id for no key update"

_TAKE = """
delete from auth.one_time_tokens
where token_hash = %(hash)s and token_type::text = any (%(kinds)s) and expires_at > now() returning *
"""

_BY_USER = """
select * from auth.one_time_tokens
where user_id = any (%(users)s) and token_type::text = any (%(kinds)s) and expires_at > now() and attempts < %(guesses)s
    and (relates_to = %(address)s or %(address)s = '') for update
"""


@dataclass(frozen=True)
class Issued:
    """Both ways of using one token; neither is kept."""

    token: str
    code: str


async def hold(link: Connection, *users: UUID) -> None:
    """Lock accounts until the transaction ends."""
    await run(link, _HOLD, {"users": list(users)})


async def issue(
    link: Connection, keys: Keys, user: UUID, kind: str, address: str, seconds: int, flow: UUID | None = None
) -> Issued:
    """A new token, instead of any of its kind that the account has.

    Args:
        address: to which it is sent.
        seconds: how long it is good.
        flow: the sign-in by PKCE that it is part of.
    """
    made = Issued(("pkce_" if flow else "") + new_token(), f"{secrets.randbelow(10**6):06}")
    await hold(link, user)
    values = {
        "id": uuid4(),
        "user": user,
        "kind": kind,
        "hash": digest(made.token),
        "address": address,
        "code": keys.code_digest(str(user), kind, made.code),
        "seconds": seconds,
        "flow": flow,
    }
    await run(link, _ISSUE, values)
    return made


async def by_token(link: Connection, token: str, kinds: tuple[str, ...]) -> Row | None:
    """What a link's token was good for; it is used up."""
    whose = "select user_id from auth.one_time_tokens where token_hash = %(hash)s"
    found = await one(link, whose, {"hash": digest(token)})
    if found is None:
        return None
    await hold(link, found["user_id"])
    return await one(link, _TAKE, {"hash": digest(token), "kinds": list(kinds)})


async def by_code(
    link: Connection, keys: Keys, users: list[UUID], kinds: tuple[str, ...], code: str, address: str = ""
) -> Row | None:
    """The same by the code that was typed. A wrong one is counted: the transaction must be committed all the same.

    Args:
        users: whose it may be.
        address: to which it was sent; empty: to any.
    """
    await hold(link, *users)
    values = {"users": users, "kinds": list(kinds), "guesses": GUESSES, "address": address}
    found = await (await link.execute(_BY_USER.encode(), values)).fetchall()
    for row in found:
        wanted = keys.code_digest(str(row["user_id"]), row["token_type"], code)
        if hmac.compare_digest(wanted, row["code_hash"] or ""):
            await run(link, "delete from auth.one_time_tokens where id = %(id)s", {"id": row["id"]})
            return row
    ids = [row["id"] for row in found]
    await run(link, "update auth.one_time_tokens set attempts = attempts + 1 where id = any (%(ids)s)", {"ids": ids})
    return None


async def drop(link: Connection, user: UUID, *kinds: str) -> None:
    """The account's tokens of these kinds are good no more."""
    await run(
        link,
        "delete from auth.one_time_tokens where user_id = %(user)s and token_type::text = any (%(kinds)s)",
        {"user": user, "kinds": list(kinds)},
    )
