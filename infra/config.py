"""The stack file, typed. Pure: a mapping in, a ``Config`` out, or an error that names the key.

Keys stand under ``config:`` in ``Pulumi.<stack>.yaml`` with the prefix ``maia:``. Whatever is not
known is refused with its path, its value and the nearest valid name.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from infra.acme import Acme
from infra.auth import Auth
from infra.errors import MaiaError
from infra.fields import Destination, HostName, PartName, PortNumber, Strict, Variable
from infra.host import Host, ServerName
from infra.target import Copy, CopyName

VERSION = 1
"""The version of the stack file's format that this release reads and writes."""

PREFIX = "maia:"


class Gateway(Strict):
    """Where the appliance is met from outside."""

    names: Annotated[list[HostName], Field(min_length=1)] = Field(
        default=["localhost"], description="Names in its certificate; the first one is the canonical origin."
    )
    address: IPv4Address = Field(default=IPv4Address("127.0.0.1"), description="Address of this machine to listen on.")
    https: PortNumber = Field(default=8443, description="Port of the TLS listener.")
    http: PortNumber | None = Field(default=None, description="Port of a plain-HTTP listener, on loopback only.")
    acme: Acme | None = Field(default=None, description="Certificates from outside; without it, the internal CA's.")

    @model_validator(mode="after")
    def _issuable(self) -> Self:
        if self.acme:
            self.acme.refuse(self.names)
        return self


class Source(Strict):
    """Where an image comes from that is not made here."""

    image: Annotated[str, Field(pattern=r"^(sha256:[0-9a-f]{64}|[^\s@]+@sha256:[0-9a-f]{64})$")] | None = Field(
        default=None, description="An image already loaded, by id, or a registry reference by digest."
    )
    archive: Annotated[str, Field(pattern=r"^/.")] | None = Field(
        default=None, description="Absolute path of a docker archive to load the image from."
    )

    @model_validator(mode="after")
    def _at_most_one(self) -> Self:
        if self.image and self.archive:
            raise ValueError("give either image or archive")
        return self


class Settings(Source):
    """What an owner may change about a part; image and archive are for parts that are not made here (Grafana)."""

    enabled: Annotated[bool, Field(strict=True)] | None = Field(
        default=None, description="Left out, every part is there but auth, which is there once this is true."
    )
    memory: Annotated[int, Field(ge=16, strict=True)] | None = Field(default=None, description="Limit in MiB.")
    cpus: Annotated[float, Field(gt=0, le=256)] | None = None


class AppNeeds(Strict):
    """What the appliance provides for an app of the owner's own."""

    database: Annotated[bool, Field(strict=True)] = False
    extensions: list[Literal["vector", "pgcrypto", "uuid-ossp", "pg_trgm", "unaccent", "citext"]] = Field(default=[])
    bucket: Annotated[bool, Field(strict=True)] = False
    redis: Annotated[bool, Field(strict=True)] = False


class Route(Strict):
    """Where the gateway sends requests to the app; without a host, on every name of the gateway."""

    host: HostName | None = None
    path: Annotated[str, Field(pattern=r"^/([A-Za-z0-9._-]+/)*$")] = "/"


class App(Source):
    """An app of the owner's own, as an image."""

    user: Annotated[str, Field(pattern=r"^[1-9][0-9]*:[1-9][0-9]*$")] = Field(
        default="1000:1000", description="Numeric uid:gid it runs as; never 0."
    )
    port: PortNumber = 3000
    route: Route | None = Route()
    health: Annotated[str, Field(pattern=r"^/[^\s{}]*$")] = Field(
        default="/", description="Path that answers 200 once the app can do its work."
    )
    healthcheck: list[str] = Field(
        default=[],
        description="Command that succeeds when it is healthy, for an image without node.",
    )
    memory: Annotated[int, Field(ge=16, strict=True)] = 512
    cpus: Annotated[float, Field(gt=0, le=256)] = 1.0
    needs: AppNeeds = AppNeeds()
    env: dict[Variable, str | int | bool] = Field(default={}, description="Variables that are not secret.")
    wire: dict[Variable, Literal["database-url", "redis-url", "s3-endpoint", "s3-access-key", "s3-secret-key"]] = Field(
        default={}, description="Variables to fill with credentials; a deviation, since files are better."
    )
    command: list[str] = Field(default=[])
    migrate: list[str] = Field(default=[], description="Command run to its end before a new version goes live.")
    trial: Annotated[bool, Field(strict=True)] = Field(
        default=True,
        description="A new version must be healthy beside the old one first; false where two must never run at once.",
    )
    writable: list[Annotated[str, Field(pattern=r"^/\S+$")]] = Field(default=[], description="Scratch folders.")

    @model_validator(mode="after")
    def _has_a_source(self) -> Self:
        if not self.image and not self.archive:
            raise ValueError("give image or archive")
        return self

    @model_validator(mode="after")
    def _wired_needs(self) -> Self:
        provided = {"database-url": self.needs.database, "redis-url": self.needs.redis}
        for variable, what in self.wire.items():
            if not provided.get(what, self.needs.bucket):
                raise ValueError(f"wire.{variable} asks for {what}, which needs does not name")
        if self.needs.extensions and not self.needs.database:
            raise ValueError("needs.extensions asks for extensions of a database, which needs does not name")
        return self


class Reference(Strict):
    """Where rows of an app name objects of a bucket."""

    database: Annotated[str, Field(min_length=1)]
    bucket: Annotated[str, Field(min_length=3)]
    query: Annotated[str, Field(min_length=1)] = Field(
        description="Yields the key of each object that a row names; run read-only at the cut of each point."
    )


class Database(Strict):
    """The database of MAIA's data."""

    enabled: Annotated[bool, Field(strict=True)] = Field(
        default=True, description="false: it is neither made nor brought further; one that is there stays."
    )


class Backup(Strict):
    """Recovery points: where, when and for how long."""

    folder: Annotated[str, Field(pattern=r"^/.")] | None = Field(
        default=None, description="Absolute path, best on another disk; left out, a folder of the site."
    )
    at: Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")] | None = Field(
        default="02:30", description="Time of day of the daily point, UTC; null for none."
    )
    days: Annotated[int, Field(ge=1, le=3650, strict=True)] = Field(
        default=14, description="How long points are kept, and the WAL that leads to any moment between them."
    )
    drill: Annotated[int, Field(ge=1, le=3650, strict=True)] | None = Field(
        default=31, description="Days within which a point must have been restored by maia drill; null for never."
    )
    references: list[Reference] = Field(
        default=[], description="Which rows name which objects; each point says what is absent, and what no row names."
    )
    copies: dict[CopyName, Copy] = Field(
        default={}, description="Places away from this machine that get the archive too, each by a name."
    )


class Care(Strict):
    """What the appliance watches over, and reminds of in `doctor`."""

    reserve: Annotated[int, Field(ge=0, strict=True)] = Field(
        default=1024, description="MiB of disk below which the databases are read-only until there is more; 0: never."
    )
    secrets: Annotated[int, Field(ge=1, strict=True)] | None = Field(
        default=365, description="Days after which a secret is to be rotated; null: never."
    )


class Config(Strict):
    """One stack."""

    version: Annotated[int, Field(strict=True)] = VERSION
    running: Annotated[bool, Field(strict=True)] = Field(default=True, description="false: data kept, nothing runs.")
    packages: Annotated[str, Field(pattern=r"^([0-9]{8}T[0-9]{6}Z)?$")] = Field(
        default="", description="When packages were asked for anew; `maia upgrade --images` writes it."
    )
    subnet: IPv4Network = Field(default=IPv4Network("10.61.0.0/20"), description="A /20 that the zones share.")
    gateway: Gateway = Gateway()
    database: Database = Database()
    auth: Auth | None = Field(default=None, description="How people sign in; needs maia:parts.auth.enabled.")
    backup: Backup = Backup()
    care: Care = Care()
    parts: dict[PartName, Settings] = Field(default={})
    apps: dict[PartName, App] = Field(default={})
    hosts: dict[ServerName, Host] = Field(default={}, description="Servers that are prepared for the stack, by name.")
    on: ServerName | None = Field(default=None, description="The server that the parts run on; null: this machine.")
    egress: dict[PartName, list[Destination]] = Field(
        default={}, description="Per part, the places outside it may reach; empty: nothing leaves."
    )

    @field_validator("subnet")
    @classmethod
    def _wide_enough(cls, value: IPv4Network) -> IPv4Network:
        if value.prefixlen != 20 or not value.is_private:
            raise ValueError("expected a private /20, such as 10.61.0.0/20")
        return value


def parse(stack: str, values: Mapping[str, Any]) -> Config:
    """Read the keys of one stack.

    Args:
        stack: its name, for error messages.
        values: the ``config:`` mapping of the stack file. Keys of other namespaces are left alone.

    Raises:
        MaiaError: the first thing that is wrong, by key.
    """
    if not re.fullmatch(r"(?!lab$)[a-z][a-z0-9-]{0,15}", stack):  # test hosts are named maia-lab-…
        raise MaiaError(f"{stack!r} is no stack name", mend="up to 16 of a-z, 0-9 and -, a letter first; not lab")
    own = {key.removeprefix(PREFIX): _scalar(value) for key, value in values.items() if key.startswith(PREFIX)}
    found = own.get("version", VERSION)
    if isinstance(found, int) and found > VERSION:
        raise MaiaError(
            f"the stack file has version {found}, this release reads up to {VERSION}",
            where=f"{PREFIX}version",
            mend="use the release that wrote it, or a newer one",
        )
    try:
        return Config.model_validate(own)
    except ValidationError as error:
        raise _explain(error) from None


def _scalar(value: Any) -> Any:
    """The engine writes the numbers and booleans of the first level back as text."""
    if isinstance(value, str):
        return int(value) if value.isdecimal() else {"true": True, "false": False}.get(value, value)
    return value


def _explain(error: ValidationError) -> MaiaError:
    first = error.errors()[0]
    path = [part for part in first["loc"] if not (isinstance(part, str) and "[" in part)]
    where = PREFIX + ".".join(str(part) for part in path)
    value = first["input"]
    shown = f", found {value!r}" if not isinstance(value, (dict, list)) else ""
    if first["type"] == "extra_forbidden":
        return MaiaError(f"unknown key{shown}", where=where, mend=nearest(str(path[-1]), _keys(path[:-1])))
    message = first["msg"].removeprefix("Value error, ")
    return MaiaError(f"{message[0].lower()}{message[1:]}{shown}", where=where, mend="correct it in the stack file")


def _keys(path: Iterable[str | int]) -> list[str]:
    """The keys a stack file may have at ``path``."""
    schema = Config.model_json_schema()
    node: dict[str, Any] = schema
    for part in path:
        named = node.get("patternProperties") or {"": node.get("additionalProperties")}
        node = node.get("properties", {}).get(part) or next(iter(named.values())) or node.get("items") or {}
        for choice in (node, *node.get("anyOf", ())):
            if "$ref" in choice:
                node = schema["$defs"][choice["$ref"].rpartition("/")[2]]
    return sorted(node.get("properties", ()))


def nearest(name: str, known: Iterable[str]) -> str:
    """The mend for a misspelled name: the nearest valid one, or all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else "known: " + ", ".join(names)


def schema() -> dict[str, Any]:
    """JSON schema of a stack file, for editors."""
    inner = Config.model_json_schema()
    definitions = inner.pop("$defs", {})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "MAIA stack file",
        "type": "object",
        "properties": {
            "encryptionsalt": {"type": "string"},
            "config": {
                "type": "object",
                "properties": {PREFIX + key: value for key, value in inner["properties"].items()},
                "patternProperties": {"^secrets:[a-z0-9-]+$": {}},
                "additionalProperties": False,
            },
        },
        "$defs": definitions,
    }
