"""The stack's internal CA, among its secrets: who signs, who is trusted, and the steps of a rotation.

A rotation goes in steps, so that nobody ever meets a certificate from a CA that it was not told of: the next CA is
trusted beside the present one, then it signs, then the former one is trusted no more. What stands in the secrets is
valid after every single write.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

CERTIFICATE = "ca-crt"
KEY = "ca-key"
NEXT = "ca-next"
"""The CA that will follow: whether it signs already, its certificate, its key."""
STAMP = "certificates"
"""A random value; another one makes all server certificates anew."""
NAMES = (CERTIFICATE, KEY)
"""What every stack has."""
OPTIONAL = (NEXT, STAMP)

COMING, SIGNS = "coming", "signs"


@dataclass(frozen=True)
class Authority:
    """What signs now, and everything that is to be trusted, the signer first; PEM."""

    certificate: str
    key: str
    trusted: str


@dataclass(frozen=True)
class Next:
    """The CA that will follow."""

    certificate: str
    key: str
    signs: bool

    @classmethod
    def read(cls, text: str) -> Next:
        certificate, key = (_whole(pem) for pem in re.findall(r"-----BEGIN.*?-----END[^\n]*", text, re.DOTALL))
        return cls(certificate, key, text.startswith(SIGNS))

    def text(self) -> str:
        return f"{SIGNS if self.signs else COMING}\n{self.certificate}{self.key}"


def of(secrets: Mapping[str, str]) -> Authority:
    """The authority as the secrets have it."""
    certificate, key = (_whole(secrets[name]) for name in NAMES)
    if NEXT not in secrets:
        return Authority(certificate, key, certificate)
    following = Next.read(secrets[NEXT])
    pairs = [(certificate, key), (following.certificate, following.key)]
    (signer, signing), (other, _) = reversed(pairs) if following.signs else pairs
    # While the last step writes one after the other, both are the same.
    return Authority(signer, signing, signer + (other if other != signer else ""))


def _whole(pem: str) -> str:
    """With the end of its last line, which the stack file does not keep."""
    return f"{pem.strip()}\n"
