"""Tokens, honest and forged, put together by hand: no library would make most of them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def read(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims, unverified."""
    header, claims, _ = token.split(".")
    return json.loads(decode(header)), json.loads(decode(claims))


def joined(header: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
    """What a signature is over."""
    return ".".join(encode(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims))


def private(jwk: Mapping[str, str]) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int.from_bytes(decode(jwk["d"])), ec.SECP256R1())


def es256(header: Mapping[str, Any], claims: Mapping[str, Any], key: ec.EllipticCurvePrivateKey) -> str:
    text = joined(header, claims)
    return f"{text}.{encode(_raw(key.sign(text.encode(), ec.ECDSA(hashes.SHA256()))))}"


def hs256(header: Mapping[str, Any], claims: Mapping[str, Any], key: bytes) -> str:
    text = joined(header, claims)
    return f"{text}.{encode(hmac.digest(key, text.encode(), hashlib.sha256))}"


def api_key(role: str, key: Mapping[str, str], **claims: Any) -> str:
    """An API key as ``maia auth apikey`` makes them, with other ``claims`` where given."""
    now = int(time.time())
    header = {"alg": "HS256", "typ": "JWT", "kid": key["kid"]}
    return hs256(header, {"role": role, "iss": "supabase", "iat": now, "exp": now + 3600} | claims, decode(key["k"]))


def _raw(der: bytes) -> bytes:
    """A signature as JWS has it: both numbers side by side."""
    return b"".join(number.to_bytes(32) for number in decode_dss_signature(der))
