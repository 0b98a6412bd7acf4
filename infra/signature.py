"""Signed evidence: a file, and beside it an Ed25519 signature over its very bytes.

Any tool can compare the two: ``openssl pkeyutl -verify -rawin -pubin -inkey KEY.pub -in FILE.json -sigfile FILE.sig``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from infra import atomic, credentials
from infra.errors import MaiaError
from infra.plan.model import EVIDENCE

SECRET = EVIDENCE
"""The secret of a stack that its key follows from."""


def private(secret: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(credentials.derived(secret, SECRET)))


def name(key: Ed25519PublicKey) -> str:
    """By what a key is known: sixteen digits of its hash."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]


def sign(path: Path, document: Mapping[str, Any], key: Ed25519PrivateKey) -> None:
    """Write the document, which names its key, with its signature and the key's public half beside it."""
    public = key.public_key()
    text = json.dumps({**document, "key": name(public)}, indent=2).encode() + b"\n"
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    atomic.write(path.with_name(f"{name(public)}.pub"), pem)
    atomic.write(path.with_suffix(".sig"), key.sign(text))
    atomic.write(path, text)


def read_key(path: Path) -> Ed25519PublicKey:
    """The public half of a key, from a file.

    Raises:
        MaiaError: it holds none.
    """
    try:
        found = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError):
        found = None
    if not isinstance(found, Ed25519PublicKey):
        raise MaiaError("holds no public Ed25519 key", where=str(path), mend="name the .pub that you were given")
    return found


def verify(path: Path, key: Ed25519PublicKey) -> dict[str, Any]:
    """What the file says, once it is proven to be what was signed.

    Raises:
        MaiaError: it is not, or there is nothing to prove it by.
    """
    try:
        text, signature = path.read_bytes(), path.with_suffix(".sig").read_bytes()
    except OSError as error:
        raise MaiaError("cannot be read", where=str(error.filename), mend="keep .json and .sig together") from None
    try:
        key.verify(signature, text)
    except InvalidSignature:
        raise MaiaError(
            f"not genuine: it is not what was signed with the key {name(key)}",
            where=str(path),
            mend="a key from before a rotation is given with --key",
        ) from None
    found: dict[str, Any] = json.loads(text)
    if found["id"] != path.stem:
        raise MaiaError(f"not genuine: it is the file of {found['id']}", where=str(path), mend="name it as it was")
    return found
