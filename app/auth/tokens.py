"""Access tokens of users (ES256) and API keys (HS256): made and checked, each with one literal algorithm."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import jwt

from app.auth.errors import Refused
from app.auth.keys import Keys
from app.auth.settings import Policy
from app.common.tokens import Claims, Invalid, Verifier

KEPT = 64
"""How many API keys are remembered as good: a stack has a handful."""


@dataclass(frozen=True)
class Caller:
    """Whose access token it is."""

    user: UUID
    session: UUID
    aal: str
    claims: Claims


class Tokens:
    def __init__(self, keys: Keys, policy: Policy) -> None:
        self._keys = keys
        self._policy = policy
        self._verifier = Verifier(
            {key.kid: key.public for key in keys.signing}, issuer=policy.issuer, audience=policy.audience
        )
        self._roles: dict[str, tuple[str, float]] = {}

    def mint(self, claims: Mapping[str, Any]) -> tuple[str, int]:
        """A user's access token, and when it expires in seconds of the epoch."""
        now = int(time.time())
        expires = now + self._policy.access_seconds
        key = self._keys.signing[0]
        body = {"iss": self._policy.issuer, "aud": self._policy.audience, "iat": now, "exp": expires, **claims}
        return jwt.encode(body, key.private, algorithm="ES256", headers={"kid": key.kid}), expires

    def caller(self, token: str) -> Caller:
        """Whose token it is, by its signature and times alone.

        Raises:
            Refused: it is not a user's token that is valid now.
        """
        try:
            claims = self._verifier.verify(token)
            return Caller(UUID(claims["sub"]), UUID(claims["session_id"]), str(claims.get("aal", "aal1")), claims)
        except Invalid as error:
            raise Refused(403, "bad_jwt", f"invalid JWT: {error}") from None
        except (KeyError, ValueError, TypeError, AttributeError):
            raise Refused(403, "bad_jwt", "invalid JWT: a claim is missing or malformed") from None

    def role(self, key: str) -> str | None:
        """The role of an API key; None where it is not one."""
        known = self._roles.get(key)
        if known is None:
            try:
                claims = jwt.decode(
                    key,
                    self._keys.api,
                    algorithms=["HS256"],
                    options={"require": ["exp", "role"], "verify_aud": False},
                )
            except (jwt.PyJWTError, ValueError):
                return None
            known = (str(claims["role"]), float(claims["exp"]))
            if known[0] not in ("anon", "service_role"):
                return None
            if len(self._roles) < KEPT:
                self._roles[key] = known
        role, expires = known
        return role if time.time() < expires else None
