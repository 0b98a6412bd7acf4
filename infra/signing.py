"""The keys of the part auth, as JWK: which one signs, which still verify, and the API keys that clients carry.

The secret ``auth-signing`` is a list: the first one signs, all verify. A rotation puts a new one in front; what was
signed before goes on being believed until the former ones are taken away.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from infra import credentials
from infra.catalog.auth import API, SEALING, SIGNING

SIZE = 32
"""Bytes of a coordinate and of the private number on P-256."""
MEMBERS = ("kty", "crv", "x", "y", "d", "kid", "alg")
"""What the service is told of a key."""
ROLES = ("anon", "service_role")
ISSUER = "supabase"
"""Of API keys, as clients of Supabase have them."""
DAYS = 3650

Jwk = dict[str, Any]


def encoded(data: bytes) -> str:
    """base64url without its end."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def key(now: float | None = None) -> Jwk:
    """A new private key of ES256, named by its thumbprint (RFC 7638)."""
    made = ec.generate_private_key(ec.SECP256R1()).private_numbers()
    public = made.public_numbers
    of = {"kty": "EC", "crv": "P-256"} | {
        name: encoded(value.to_bytes(SIZE, "big")) for name, value in (("x", public.x), ("y", public.y))
    }
    thumbprint = hashlib.sha256(json.dumps(of, sort_keys=True, separators=(",", ":")).encode()).digest()
    secret = {"d": encoded(made.private_value.to_bytes(SIZE, "big"))}
    made_at = int(time.time() if now is None else now)
    return of | secret | {"kid": encoded(thumbprint), "alg": "ES256", "iat": made_at}


def text(keys: list[Jwk]) -> str:
    return json.dumps(keys, separators=(",", ":"))


def first() -> str:
    """The secret of a stack that had none."""
    return text([key()])


def read(secret: str) -> list[Jwk]:
    """The keys that the secret holds, the one that signs first."""
    found: list[Jwk] = json.loads(secret)
    return found


def rotated(secret: str, now: float | None = None) -> str:
    """The secret with a new key in front."""
    return text([key(now), *read(secret)])


def finished(secret: str) -> str:
    """The secret with the key that signs alone."""
    return text(read(secret)[:1])


def told(keys: list[Jwk]) -> list[Jwk]:
    """As the service gets them."""
    return [{name: each[name] for name in MEMBERS} for each in keys]


def api(secret: str) -> Jwk:
    """The key of API keys: the secret's own characters, as the secret of a Supabase project is used."""
    data = secret.encode()
    return {"kty": "oct", "k": encoded(data), "kid": hashlib.sha256(data).hexdigest()[:16], "alg": "HS256"}


def sealing(secret: str) -> str:
    """The key that second factors are sealed with: 32 bytes in base64."""
    return base64.b64encode(bytes.fromhex(credentials.derived(secret, SEALING))).decode()


def document(secrets: Mapping[str, str]) -> dict[str, Any]:
    """All that the service needs to know, by what each is for."""
    return {
        "signing": told(read(secrets[SIGNING])),
        "api": api(secrets[API]),
        "sealing": sealing(secrets[SEALING]),
    }


def minted(secret: str, role: str, days: int = DAYS, now: float | None = None) -> str:
    """An API key for one of `ROLES`, good for so many days."""
    since = int(time.time() if now is None else now)
    head = {"alg": "HS256", "kid": api(secret)["kid"], "typ": "JWT"}
    claims = {"role": role, "iss": ISSUER, "iat": since, "exp": since + days * 86400}
    said = ".".join(encoded(json.dumps(each, separators=(",", ":")).encode()) for each in (head, claims))
    return f"{said}.{encoded(hmac.digest(secret.encode(), said.encode(), 'sha256'))}"
