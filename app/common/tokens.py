"""Users' access tokens, checked without asking anybody: the auth service's public keys are fetched now and then."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import httpx
import jwt

Claims = dict[str, Any]

REQUIRED = ["exp", "iat", "iss", "aud", "sub"]
LEEWAY = 5
"""Seconds that clocks may differ."""
HEADS = 64
"""Headers that are remembered: there are as many as keys."""
LONGEST = 16384
"""Bytes of the longest token that is looked at."""


class Invalid(ValueError):
    """A token that is not one of ours, or not now; says why in a few words."""


class Verifier:
    """Checks tokens that one issuer signed with ES256, for one audience. No other algorithm is ever tried."""

    def __init__(self, keys: Mapping[str, Any], *, issuer: str, audience: str) -> None:
        """
        Args:
            keys: public keys of P-256 by their ``kid``.
            issuer: the claim ``iss``, exactly.
            audience: the claim ``aud``, exactly.
        """
        self.keys = dict(keys)
        self._issuer = issuer
        self._audience = audience
        self._heads: dict[str, str] = {}
        self._options: Any = {"require": REQUIRED, "strict_aud": True, "enforce_minimum_key_length": False}

    def key_id(self, token: str) -> str:
        """The ``kid`` that a token names.

        Raises:
            Invalid: it is no token, or asks for what is not done here.
        """
        if len(token) > LONGEST:
            raise Invalid("too long")
        # All tokens of one key begin with the same letters: what they say is read once.
        head = token.partition(".")[0]
        if (known := self._heads.get(head)) is not None:
            return known
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError):
            raise Invalid("malformed") from None
        if header.get("alg") != "ES256":
            raise Invalid("signed with another algorithm")
        if "crit" in header:
            raise Invalid("demands an extension")
        kid = header.get("kid")
        if not isinstance(kid, str):
            raise Invalid("names no key")
        if kid in self.keys and len(self._heads) < HEADS:
            self._heads[head] = kid
        return kid

    def verify(self, token: str) -> Claims:
        """The claims of a valid token.

        Raises:
            Invalid: by its form, signature, times, issuer or audience.
        """
        key = self.keys.get(self.key_id(token))
        if key is None:
            raise Invalid("signed with an unknown key")
        try:
            return jwt.decode(
                token,
                key,
                algorithms=["ES256"],
                issuer=self._issuer,
                audience=self._audience,
                leeway=LEEWAY,
                options=self._options,
            )
        except jwt.ExpiredSignatureError:
            raise Invalid("expired") from None
        except (jwt.PyJWTError, ValueError, TypeError):
            raise Invalid("signature or claims are wrong") from None


class Remote:
    """A verifier whose keys come from the auth service, and are asked for anew when they are old or one is unknown."""

    def __init__(
        self, http: httpx.AsyncClient, jwks: str, *, issuer: str, audience: str, seconds: float = 600, pause: float = 10
    ) -> None:
        """
        Args:
            jwks: URL of the key set.
            seconds: how long keys are taken for current.
            pause: least time between two fetches, however many tokens name unknown keys.
        """
        self._http = http
        self._jwks = jwks
        self._verifier = Verifier({}, issuer=issuer, audience=audience)
        self._seconds = seconds
        self._pause = pause
        self._fetched = -1e9
        self._tried = -1e9
        self._lock = asyncio.Lock()

    async def verify(self, token: str) -> Claims:
        """The claims of a valid token. While the auth service is away, the keys that are known go on being used.

        Raises:
            Invalid: by its form, key, signature, times, issuer or audience.
        """
        now = time.monotonic()
        if now - self._fetched >= self._seconds or self._verifier.key_id(token) not in self._verifier.keys:
            await self._refresh()
        return self._verifier.verify(token)

    async def _refresh(self) -> None:
        async with self._lock:
            now = time.monotonic()
            if now - self._tried < self._pause:
                return
            self._tried = now
            try:
                answer = await self._http.get(self._jwks)
                answer.raise_for_status()
                found = {
                    key["kid"]: jwt.PyJWK(key, algorithm="ES256").key
                    for key in answer.json()["keys"]
                    if key.get("kty") == "EC" and key.get("crv") == "P-256"
                }
            except (httpx.HTTPError, jwt.PyJWTError, KeyError, TypeError, ValueError):
                return
            if found:
                self._verifier.keys = found
                self._fetched = now
