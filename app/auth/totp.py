"""One-time passwords by time (RFC 6238): SHA-1, six digits, steps of 30 seconds, as every authenticator has them."""

from __future__ import annotations

import base64
import hmac
import secrets
import struct
import time
from urllib.parse import quote, urlencode

STEP = 30
DIGITS = 6
SKEW = 1
"""Steps by which clocks may differ, either way."""


def new_secret() -> str:
    """160 bits in base32."""
    return base64.b32encode(secrets.token_bytes(20)).decode()


def code(secret: str, step: int) -> str:
    """The code of a time step (RFC 4226, 5.3)."""
    mac = hmac.digest(
        base64.b32decode(secret + "=" * (-len(secret) % 8), casefold=True), struct.pack(">Q", step), "sha1"
    )
    offset = mac[-1] & 15
    number = struct.unpack(">I", mac[offset : offset + 4])[0] & 0x7FFFFFFF
    return f"{number % 10**DIGITS:0{DIGITS}}"


def step_of(secret: str, told: str, now: float | None = None) -> int | None:
    """The time step whose code it is, as far as clocks may differ; None where it is none's."""
    current = int((time.time() if now is None else now) // STEP)
    found = None
    for step in range(current - SKEW, current + SKEW + 1):
        if hmac.compare_digest(code(secret, step).encode(), told.encode()):
            found = step
    return found


def uri(secret: str, issuer: str, account: str) -> str:
    """What authenticators read from a QR code."""
    told = {"algorithm": "SHA1", "digits": DIGITS, "issuer": issuer, "period": STEP, "secret": secret}
    return f"otpauth://totp/{quote(issuer)}:{quote(account)}?{urlencode(told, quote_via=quote)}"
