"""The service's keys: what signs tokens, what API keys are checked with, what seals secrets in the database."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from app.common.settings import SettingError

PRIVATE = ("d", "k", "p", "q", "dp", "dq", "qi", "oth")


class Unsealed(ValueError):
    """Something sealed that this key did not seal, or that was altered."""


@dataclass(frozen=True, repr=False)
class Signing:
    """A key pair that signs users' tokens."""

    kid: str
    private: Any
    public: Any
    jwk: dict[str, str]
    """The public half as others get it."""


class Keys:
    def __init__(self, document: dict[str, Any]) -> None:
        """
        Raises:
            KeyError, ValueError, jwt.PyJWTError: it is not the document of the keys.
        """
        self.signing = tuple(_signing(jwk) for jwk in document["signing"])
        if not self.signing:
            raise ValueError("no key signs")
        api = document["api"]
        if api["kty"] != "oct" or api.get("alg", "HS256") != "HS256":
            raise ValueError("api is not a key for HS256")
        self.api = base64.urlsafe_b64decode(api["k"] + "=" * (-len(api["k"]) % 4))
        root = base64.b64decode(document["sealing"], validate=True)
        if len(root) != 32 or len(self.api) < 32:
            raise ValueError("a key is too short")
        self._seal = AESGCM(_derive(root, b"seal"))
        self._rotation = _derive(root, b"rotation")
        self._codes = _derive(root, b"codes")
        self._subjects = _derive(root, b"subjects")

    def __repr__(self) -> str:
        return "<Keys>"

    @property
    def jwks(self) -> dict[str, list[dict[str, str]]]:
        return {"keys": [key.jwk for key in self.signing]}

    def child(self, kept: str) -> str:
        """The refresh token after the one whose digest is kept: always the same, and nobody else guesses it."""
        return _text(hmac.digest(self._rotation, kept.encode(), "sha256")[:24])

    def code_digest(self, *parts: str) -> str:
        """What is kept of a short code in the database: without the key it cannot be found by trying them all."""
        return hmac.digest(self._codes, "\x1f".join(parts).encode(), "sha256").hex()

    def subject(self, text: str) -> bytes:
        """16 bytes that stand for an address or an account where it must not be kept itself."""
        return hmac.digest(self._subjects, text.encode(), "sha256")[:16]

    def seal(self, text: str, purpose: str) -> bytes:
        """``text`` encrypted for one purpose (AES-256-GCM, a random nonce in front)."""
        nonce = secrets.token_bytes(12)
        return nonce + self._seal.encrypt(nonce, text.encode(), purpose.encode())

    def unseal(self, sealed: bytes, purpose: str) -> str:
        """
        Raises:
            Unsealed: it was not sealed for this purpose with this key.
        """
        try:
            return self._seal.decrypt(sealed[:12], sealed[12:], purpose.encode()).decode()
        except (InvalidTag, ValueError):
            raise Unsealed(purpose) from None


def read(path: Path) -> Keys:
    """The keys in a file.

    Raises:
        SettingError: naming the file, never what is in it.
    """
    try:
        return Keys(json.loads(path.read_bytes()))
    except (KeyError, TypeError, ValueError, jwt.PyJWTError) as error:
        raise SettingError(f"{path}: not the keys of the auth service ({type(error).__name__})") from None


def new_token() -> str:
    """A token that nobody guesses: 192 bits."""
    return _text(secrets.token_bytes(24))


def digest(token: str) -> str:
    """What is kept of a long random token in the database."""
    return hashlib.sha256(token.encode()).hexdigest()


def _signing(jwk: dict[str, Any]) -> Signing:
    if jwk.get("kty") != "EC" or jwk.get("crv") != "P-256" or jwk.get("alg") != "ES256":
        raise ValueError("a signing key is not of P-256 for ES256")
    if "d" not in jwk:
        raise ValueError("a signing key lacks its private half")
    private = jwt.PyJWK(jwk, algorithm="ES256").key
    public = {name: value for name, value in jwk.items() if name not in PRIVATE}
    public |= {"use": "sig", "key_ops": ["verify"]}
    return Signing(str(jwk["kid"]), private, private.public_key(), public)


def _derive(root: bytes, purpose: bytes) -> bytes:
    return HKDFExpand(hashes.SHA256(), 32, b"maia auth " + purpose).derive(root)


def _text(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")
