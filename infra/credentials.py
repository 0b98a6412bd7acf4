"""Login names and connection settings that follow from a generated secret.

A login carries a tag of its secret in its name, so a rotation makes a second login beside the first, moves
the parts over, and only then removes the old one: a create-before-delete replacement, with no failed request.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets as random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from infra.errors import MaiaError
from infra.plan import Plan

BYTES = 24
"""Entropy of a generated secret: 192 bits."""

KNOWN = frozenset({"minioadmin", "postgres", "password", "changeme", "your-super-secret-and-long-postgres-password"})


def generate() -> str:
    """A new secret, of letters, digits, ``-`` and ``_`` only."""
    return random.token_urlsafe(BYTES)


def tagged(name: str, secret: str, separator: str) -> str:
    """The login of ``name`` while its secret is ``secret``."""
    return f"{name}{separator}{hashlib.sha256(secret.encode()).hexdigest()[:8]}"


def derived(key: str, purpose: str) -> str:
    """A key for one purpose, which tells nothing of ``key`` or of the others made from it."""
    return hmac.new(key.encode(), purpose.encode(), hashlib.sha256).hexdigest()


def ssh_key(seed: str) -> str:
    """The private key of SSH that 32 bytes in hexadecimal amount to, as PEM."""
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed))
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


def refuse_weak(name: str, secret: str) -> None:
    """Refuse demo values and what a person might have typed.

    Raises:
        MaiaError: naming the secret, never its value.
    """
    if secret.lower() in KNOWN or len(secret) < 20 or len(set(secret)) < 10:
        raise MaiaError("too weak, or a known demo value", where=f"secrets:{name}", mend=f"maia secrets rotate {name}")


@dataclass(frozen=True, kw_only=True)
class Credential:
    """How a part reaches what it needs."""

    host: str
    port: int
    user: str
    password: str
    database: str = ""
    url: str = ""
    """Connection URL, password included."""


Lookup = Callable[[str], Credential]


def of_part(plan: Plan, part: str, secrets: Mapping[str, str]) -> Lookup:
    """A function from a kind of need (``postgres``, ``redis``, ``s3``) to the part's credential for it."""

    def credential(kind: str) -> Credential:
        secret = secrets[f"{part}-{kind}"]
        if kind == "postgres":
            role = next(role for role in plan.roles if role.part == part)
            user, database = tagged(role.role, secret, "_"), role.database.name
            url = f"postgresql://{user}:{quote(secret)}@postgres:5432/{database}?sslmode=verify-full&sslrootcert=/etc/maia/ca.crt"
            return Credential(host="postgres", port=5432, user=user, password=secret, database=database, url=url)
        if kind == "redis":
            url = f"redis://{part}:{quote(secret)}@redis:6379/0"
            return Credential(host="redis", port=6379, user=part, password=secret, url=url)
        return Credential(host="s3", port=9000, user=tagged(part, secret, "-"), password=secret, url="http://s3:9000")

    return credential


def wired(credential: Lookup, what: str) -> str:
    """What an app's variable is filled with, such as ``database-url``."""
    kind, _, field = what.partition("-")
    found = credential({"database": "postgres"}.get(kind, kind))
    return {"url": found.url, "endpoint": found.url, "access-key": found.user, "secret-key": found.password}[field]
