"""``maia:auth``: how people sign up and sign in. Pure."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from app.auth.settings import LIMITS
from infra.fields import Destination, HostName, PortNumber, Strict

ORIGIN = r"https?://[a-z0-9.-]+(:[0-9]+)?"
REDIRECT = r"[a-z][a-z0-9+.-]*://[^\s/?#*]+(/[^\s*]*\*?)?"
"""An address, or what addresses begin with: a whole host and the slash behind it come before the star."""
SCRIPTS = ("javascript", "data", "vbscript", "file", "blob")
"""Schemes by which a browser runs or opens what the link itself holds."""
LOOPBACK = ("localhost", "127.0.0.1")

Switch = Annotated[bool, Field(strict=True)]
Times = Annotated[int, Field(ge=1, strict=True)]
Seconds = Annotated[int, Field(strict=True)]
Length = Annotated[int, Field(ge=8, le=72, strict=True)]


class Smtp(Strict):
    """Who takes the service's mail; naming it opens the way there, through the exit proxy."""

    host: HostName
    port: PortNumber = 587
    tls: Literal["starttls", "implicit"] = Field(default="starttls", description="implicit: TLS from the first byte.")
    sender: Annotated[str, Field(pattern=r"^[^\s@,<>]+@[^\s@,<>]+$")] = Field(description="Address that mail is from.")
    user: Annotated[str, Field(pattern=r"^[!-~]+$")] | None = Field(
        default=None, description="Who logs in; the password is the secret auth-smtp."
    )

    @property
    def endpoint(self) -> Destination:
        return Destination(host=self.host, port=self.port)


class Auth(Strict):
    """The part auth, which is there once maia:parts.auth.enabled is true."""

    site_url: str | None = Field(
        default=None, description="Where links of mails lead in the end; left out, the gateway's own address."
    )
    redirects: list[str] = Field(
        default=[], description="Further addresses that links may lead to, exact or with one * at the end."
    )
    origins: list[Annotated[str, Field(pattern=f"^{ORIGIN}$")]] = Field(
        default=[], description="Further origins whose pages may call it, such as https://app.example.org."
    )
    name: Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,64}$")] = Field(
        default="MAIA", description="What mails and authenticators call it."
    )
    signup: Switch = Field(default=True, description="Whether people may make an account by themselves.")
    anonymous: Switch = Field(default=False, description="Whether one may be somebody without any account.")
    autoconfirm: Switch = Field(default=False, description="Whether an address counts without being confirmed.")
    access_seconds: Annotated[Seconds, Field(ge=60, le=86400)] = Field(
        default=3600, description="Life of an access token."
    )
    idle_seconds: Annotated[Seconds, Field(ge=300)] = Field(
        default=1_209_600, description="Without a refresh for so long, a session ends."
    )
    absolute_seconds: Annotated[Seconds, Field(ge=300)] = Field(
        default=7_776_000, description="However busy it is, a session ends after so long."
    )
    reuse_seconds: Annotated[Seconds, Field(ge=0, le=60)] = Field(
        default=10, description="A refresh token may be used again for so long; later that ends the session."
    )
    link_seconds: Annotated[Seconds, Field(ge=60, le=86400)] = Field(
        default=3600, description="How long a link or a code of a mail is good."
    )
    reauthenticate_seconds: Annotated[Seconds, Field(ge=0)] = Field(
        default=0, description="Of a session that is older, a code by mail is asked before a new password; 0: never."
    )
    bcrypt_cost: Annotated[int, Field(ge=10, le=16, strict=True)] = Field(
        default=12, description="Of new hashes; one more is twice the work."
    )
    password_single: Length = Field(default=15, description="Least characters where the password is all there is.")
    password_second: Length = Field(default=8, description="Least characters where a second factor is asked for too.")
    limits: dict[str, tuple[Times, Times]] = Field(
        default={}, description="How often what may be tried, and in how many seconds; left out, the service's own."
    )
    smtp: Smtp | None = Field(default=None, description="Without it mail stays here: maia auth outbox shows it.")

    @field_validator("site_url")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is not None:
            _refuse_unsafe(value)
            if "*" in value:
                raise ValueError("expected one address, without *")
        return value

    @field_validator("redirects")
    @classmethod
    def _addresses(cls, value: list[str]) -> list[str]:
        for each in value:
            _refuse_unsafe(each)
        return value

    @field_validator("limits")
    @classmethod
    def _known(cls, value: dict[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
        for name in value:
            if name not in LIMITS:
                raise ValueError(f"no limit {name!r}; known: {', '.join(sorted(LIMITS))}")
        return value

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.access_seconds <= self.idle_seconds <= self.absolute_seconds:
            raise ValueError("expected access_seconds <= idle_seconds <= absolute_seconds")
        if self.password_second > self.password_single:
            raise ValueError("password_second asks for more than password_single")
        return self


def _refuse_unsafe(value: str) -> None:
    """Refuse what would let a link lead anywhere else than where the owner meant.

    Raises:
        ValueError: and why.
    """
    if not re.fullmatch(REDIRECT, value):
        raise ValueError(
            f"expected an address such as https://app.example.org/ or https://app.example.org/*, not {value!r}"
        )
    found = urlsplit(value)
    if found.scheme in SCRIPTS or "@" in found.netloc:
        raise ValueError(f"{value!r} is no place to lead people to")
    if found.scheme == "http" and found.hostname not in LOOPBACK:
        raise ValueError(f"{value!r} would carry sessions in the clear: https only")
