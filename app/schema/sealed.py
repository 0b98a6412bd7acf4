"""The format of sealed columns (docs/schema/sealed.md): the reference by which clients are written, and for tests."""

from __future__ import annotations

import os
import uuid

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SEALED = b"MAIA"
"""Mark of what clients seal."""
ENVELOPED = b"MAIE"
"""Mark of what services encrypt with keys outside the database."""
FORMAT = 1
AES_256_GCM = 1
HEADER = 22
"""Bytes of mark, format, algorithm and key."""
NONCE = 12


class Unreadable(ValueError):
    """It is no ciphertext of this format, not of this key, or not of this place."""


def seal(key: bytes, identity: uuid.UUID, content: bytes, place: bytes, *, mark: bytes = SEALED) -> bytes:
    """Encrypt ``content``.

    Args:
        identity: which key it is.
        place: what the ciphertext is bound to, as ``table/column/row``: moved elsewhere it cannot be opened.
    """
    header = mark + bytes([FORMAT, AES_256_GCM]) + identity.bytes
    nonce = os.urandom(NONCE)
    return header + nonce + AESGCM(key).encrypt(nonce, content, header + place)


def open_(key: bytes, sealed: bytes, place: bytes) -> bytes:
    """Decrypt what `seal` made.

    Raises:
        Unreadable: it cannot be opened.
    """
    header, nonce, rest = sealed[:HEADER], sealed[HEADER : HEADER + NONCE], sealed[HEADER + NONCE :]
    if header[:4] not in (SEALED, ENVELOPED) or header[4:6] != bytes([FORMAT, AES_256_GCM]):
        raise Unreadable("not of format 1 with AES-256-GCM")
    try:
        return AESGCM(key).decrypt(nonce, rest, header + place)
    except Exception as fault:
        raise Unreadable("not of this key or this place, or altered") from fault


def key_of(sealed: bytes) -> uuid.UUID:
    """Which key opens it."""
    return uuid.UUID(bytes=sealed[6:HEADER])
