"""Second factors of accounts: authenticators, and recovery codes for when one is lost."""

from __future__ import annotations

import base64
import secrets
from uuid import UUID, uuid4

import psycopg

from app.auth import totp
from app.auth.database import Connection, Row, one, run
from app.auth.errors import Refused
from app.auth.keys import Keys

MOST = 10
"""Factors that one account may have."""
CHALLENGE = 300
"""Seconds that a question is open."""
CODES = 10
"""Recovery codes of one set."""
_LETTERS = "23456789abcdefghjkmnpqrstuvwxyz"
_LENGTH = 16


def missing() -> Refused:
    return Refused(404, "mfa_factor_not_found", "Factor not found")


async def enrolled(link: Connection, keys: Keys, user: Row, name: str) -> tuple[UUID, str]:
    """A new authenticator that waits for its first code, and its secret.

    Raises:
        Refused: there are too many, or there is one of that name.
    """
    await run(
        link,
        "delete from auth.mfa_factors where user_id = %(user)s and status = 'unverified'"
        " and created_at < now() - interval '1 day'",
        {"user": user["id"]},
    )
    if len(user["factors"]) >= MOST:
        message = "Maximum number of verified factors reached, unenroll to continue"
        raise Refused(422, "too_many_enrolled_mfa_factors", message)
    factor, secret = uuid4(), totp.new_secret()
    await _add(link, factor, user["id"], name, "totp", _sealed(keys, factor, secret))
    return factor, secret


async def _add(link: Connection, factor: UUID, user: UUID, name: str, kind: str, secret: str | None) -> None:
    status = "unverified" if secret else "verified"
    try:
        async with link.transaction():
            await run(
                link,
                "insert into auth.mfa_factors (id, user_id, friendly_name, factor_type, status, secret)"
                " values (%(id)s, %(user)s, %(name)s, %(kind)s, %(status)s, %(secret)s)",
                {"id": factor, "user": user, "name": name, "kind": kind, "status": status, "secret": secret},
            )
    except psycopg.errors.UniqueViolation:
        message = "A factor with this friendly name for this user already exists"
        raise Refused(422, "mfa_factor_name_conflict", message) from None


async def found(link: Connection, user: UUID, factor: UUID) -> Row:
    """A factor of an account.

    Raises:
        Refused: it has none such.
    """
    row = await one(
        link,
        "select id, factor_type::text as kind, status::text as status, secret, last_step from auth.mfa_factors"
        " where id = %(id)s and user_id = %(user)s",
        {"id": factor, "user": user},
    )
    if row is None:
        raise missing()
    return row


async def challenged(link: Connection, factor: UUID, address: str | None) -> Row:
    """A new question for a factor."""
    row = await one(
        link,
        """
        with asked as (update auth.mfa_factors set last_challenged_at = now() where id = %(factor)s)
        insert into auth.mfa_challenges (id, factor_id, ip_address) values (%(id)s, %(factor)s, %(address)s::inet)
        returning id, extract(epoch from created_at)::bigint + %(seconds)s as expires_at
        """,
        {"id": uuid4(), "factor": factor, "address": address or "0.0.0.0", "seconds": CHALLENGE},
    )
    assert row is not None
    return row


async def answered(link: Connection, factor: UUID, challenge: UUID) -> None:
    """The question is used up.

    Raises:
        Refused: there is none such, or it was open for too long.
    """
    row = await one(
        link,
        "update auth.mfa_challenges set verified_at = now() where id = %(id)s and factor_id = %(factor)s"
        " and verified_at is null returning created_at > now() - make_interval(secs => %(seconds)s) as open",
        {"id": challenge, "factor": factor, "seconds": CHALLENGE},
    )
    if row is None:
        raise Refused(422, "mfa_factor_not_found", "MFA factor with the provided challenge ID not found")
    if not row["open"]:
        message = "MFA challenge has expired, verify against another challenge or create a new challenge."
        raise Refused(422, "mfa_challenge_expired", message)


async def accepts(link: Connection, keys: Keys, factor: Row, code: str) -> bool:
    """Whether it is a code of the authenticator that was not used before; it is used from now on."""
    secret = keys.unseal(base64.b64decode(factor["secret"]), f"totp {factor['id']}")
    step = totp.step_of(secret, code)
    if step is None:
        return False
    used = await run(
        link,
        "update auth.mfa_factors set last_step = %(step)s, status = 'verified', updated_at = now()"
        " where id = %(id)s and last_step < %(step)s",
        {"id": factor["id"], "step": step},
    )
    return used == 1


async def removed(link: Connection, user: UUID, factor: UUID) -> None:
    """The factor is gone; sessions that stood on it are at ``aal1``, and recovery codes go with the last one."""
    values = {"id": factor, "user": user}
    await run(link, "delete from auth.mfa_factors where id = %(id)s and user_id = %(user)s", values)
    await run(
        link,
        "update auth.sessions set aal = 'aal1', factor_id = null where user_id = %(user)s and factor_id = %(id)s",
        values,
    )
    await run(
        link,
        """
        delete from auth.mfa_factors where user_id = %(user)s and factor_type = 'recovery_code' and not exists (
            select from auth.mfa_factors f
            where f.user_id = %(user)s and f.status = 'verified' and f.factor_type <> 'recovery_code')
        """,
        values,
    )


async def codes_of(link: Connection, user: UUID) -> Row:
    """The set of recovery codes of an account: ``id``, ``friendly_name``, ``total`` and ``remaining``.

    Raises:
        Refused: there is none.
    """
    row = await one(
        link,
        """
        select f.id, f.friendly_name, count(c.id) as total, count(c.id) filter (where c.used_at is null) as remaining
        from auth.mfa_factors f left join auth.recovery_codes c on c.factor_id = f.id
        where f.user_id = %(user)s and f.factor_type = 'recovery_code' group by f.id
        """,
        {"user": user},
    )
    if row is None:
        raise missing()
    return row


async def new_set(link: Connection, user: UUID, name: str) -> UUID:
    """A factor for recovery codes, still without any."""
    factor = uuid4()
    await _add(link, factor, user, name, "recovery_code", None)
    return factor


async def new_codes(link: Connection, keys: Keys, user: UUID, factor: UUID) -> list[str]:
    """New codes instead of all that there are."""
    codes = ["".join(secrets.choice(_LETTERS) for _ in range(_LENGTH)) for _ in range(CODES)]
    await run(link, "delete from auth.recovery_codes where factor_id = %(factor)s", {"factor": factor})
    for code in codes:
        await run(
            link,
            "insert into auth.recovery_codes (id, user_id, factor_id, code_hash)"
            " values (%(id)s, %(user)s, %(factor)s, %(hash)s)",
            {"id": uuid4(), "user": user, "factor": factor, "hash": _code_hash(keys, factor, code)},
        )
    return codes


async def redeemed(link: Connection, keys: Keys, factor: UUID, told: str) -> bool:
    """Whether it is one of the codes that was not used before; it is used from now on."""
    code = "".join(letter for letter in told.lower() if letter.isalnum())
    used = await run(
        link,
        "update auth.recovery_codes set used_at = now()"
        " where factor_id = %(factor)s and code_hash = %(hash)s and used_at is null",
        {"factor": factor, "hash": _code_hash(keys, factor, code)},
    )
    return used == 1


def _code_hash(keys: Keys, factor: UUID, code: str) -> str:
    return keys.code_digest("recovery", str(factor), code)


def _sealed(keys: Keys, factor: UUID, secret: str) -> str:
    return base64.b64encode(keys.seal(secret, f"totp {factor}")).decode()
