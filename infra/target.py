"""``maia:backup.copies``: where the archive is a second time, away from this machine. Pure."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from infra.fields import Destination, HostName, PortNumber, Roots, Strict, met

CopyName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,15}$")]
_WORDS = r"[A-Za-z0-9_][A-Za-z0-9._-]*"


class S3(Strict):
    """A bucket at an S3 endpoint; its secret key is the secret ``backup-copy-NAME``."""

    endpoint: str = Field(description="https address of the service, without a path.")
    bucket: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
    prefix: Annotated[str, Field(pattern=rf"^{_WORDS}(/{_WORDS})*$")] | None = Field(
        default=None, description="Where in the bucket; left out, at its top."
    )
    region: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")] = "us-east-1"
    key_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._@+-]+$")] = Field(description="Access key id.")
    roots: Roots | None = Field(default=None, description="Of a private service: PEM of its CA.")

    @field_validator("endpoint")
    @classmethod
    def _https(cls, value: str) -> str:
        try:
            met(value)
        except ValueError:
            raise ValueError("expected an address such as https://s3.example.org") from None
        if not re.fullmatch(r"https://[a-z0-9.-]+(:[0-9]+)?", value):
            raise ValueError("expected an https address without a path")
        return value

    @property
    def destination(self) -> Destination:
        return met(self.endpoint)


class Ssh(Strict):
    """A folder of an SSH host, by SFTP; the appliance logs in with a key of its own."""

    host: HostName
    port: PortNumber = 22
    user: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_.-]{0,31}$")]
    path: Annotated[str, Field(pattern=rf"^(/{_WORDS})+$")] = Field(description="Absolute path of the folder.")
    host_key: Annotated[
        str, Field(pattern=r"^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp[0-9]{3}) [A-Za-z0-9+/]+={0,3}$")
    ] = Field(description="The host's public key, as ssh-keyscan shows it after the name: type and key.")

    @property
    def destination(self) -> Destination:
        return Destination(host=self.host, port=self.port)


class Copy(Strict):
    """One place away from this machine."""

    s3: S3 | None = None
    ssh: Ssh | None = None
    every: Annotated[int, Field(ge=1, le=1440, strict=True)] = Field(
        default=15,
        description="Minutes between two runs, which is what a lost machine costs; a new point goes at once.",
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.s3 is None) == (self.ssh is None):
            raise ValueError("give either s3 or ssh")
        return self

    @property
    def place(self) -> S3 | Ssh:
        found = self.s3 or self.ssh
        assert found
        return found
