"""``maia:gateway.acme``: certificates from outside. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from infra.fields import Destination, PortNumber, Roots, Strict, met

NOT_PUBLIC = ("alt", "example", "home.arpa", "internal", "invalid", "lan", "local", "onion", "test")
"""Ends of names that no public directory gives a certificate for."""


class Acme(Strict):
    """A certificate for the names of the gateway from an ACME directory, in place of the internal CA's."""

    directory: str = Field(description="URL of the directory, https; naming it agrees to its terms.")
    email: Annotated[str, Field(pattern=r"^[^\s@,]+@[^\s@,]+$")] | None = Field(
        default=None, description="Where the directory may reach you."
    )
    http: PortNumber = Field(default=80, description="Port of the challenges; it must be port 80 from outside.")
    key_id: Annotated[str, Field(pattern=r"^[!-~]+$")] | None = Field(
        default=None, description="External account binding: its key id; its key is the secret acme-eab."
    )
    roots: Roots | None = Field(
        default=None, description="Of a private directory: PEM of its CA and of the roots of what it issues."
    )

    @field_validator("directory")
    @classmethod
    def _https(cls, value: str) -> str:
        try:
            met(value)
        except ValueError:
            raise ValueError("expected an address such as https://acme.example.org/directory") from None
        url = urlsplit(value)
        if url.scheme != "https" or url.username is not None or not re.fullmatch(r"[!-~]+", value):
            raise ValueError("expected an https address")
        return value

    @property
    def endpoint(self) -> Destination:
        """Where the directory is met."""
        return met(self.directory)

    def refuse(self, names: Iterable[str]) -> None:
        """Refuse names that no directory, or no public one, gives a certificate for.

        Raises:
            ValueError: naming the first of them.
        """
        for name in names:
            if re.fullmatch(r"[0-9.]+", name):
                raise ValueError(f"acme issues for names, and {name} is an address")
            if "." not in name or name.endswith(".localhost"):
                raise ValueError(f"acme issues for full names, and every machine has a {name} of its own")
            if self.roots is None and name.endswith(tuple(f".{end}" for end in NOT_PUBLIC)):
                raise ValueError(f"no public directory issues for {name}; of a private one, give acme.roots")
