"""What the fields of a stack file are made of."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

PartName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{1,30}$")]
PortNumber = Annotated[int, Field(ge=1, le=65535, strict=True)]
Variable = Annotated[str, Field(pattern=r"^[A-Z_][A-Z0-9_]*$")]
HostName = Annotated[
    str, Field(max_length=253, pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$")
]


def _certificates(value: str) -> str:
    try:
        found = x509.load_pem_x509_certificates(value.encode())
    except ValueError:
        raise ValueError("expected certificates in PEM") from None
    return "".join(each.public_bytes(serialization.Encoding.PEM).decode() for each in found)


Roots = Annotated[str, AfterValidator(_certificates)]
"""Certificates in PEM that something private is trusted by."""


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Destination(Strict):
    """A place outside that a part may reach through the exit proxy."""

    host: HostName
    port: PortNumber

    @model_validator(mode="before")
    @classmethod
    def _parse(cls, value: Any) -> Any:
        if isinstance(value, str):
            host, _, port = value.rpartition(":")
            if not host or not port.isdigit():
                raise ValueError("expected host:port")
            return {"host": host, "port": int(port)}
        return value


def met(address: str) -> Destination:
    """Where an https address is met.

    Raises:
        ValueError: it has no host or port that can be.
    """
    url = urlsplit(address)
    return Destination(host=url.hostname or "", port=url.port or 443)
