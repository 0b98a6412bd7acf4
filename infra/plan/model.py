"""What a plan consists of: plain data, from which everything else follows."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from infra.catalog.model import (
    Bucket,
    Database,
    Deviation,
    Endpoint,
    File,
    Health,
    Probe,
    Redis,
    Route,
    Scrape,
    Zone,
)

ENVELOPE = "envelope"
"""The secret whose key encrypts what services write encrypted; it is never in the database, nor in a container."""
EVIDENCE = "evidence"
"""The secret that the key follows from by which evidence is signed: every stack has one."""
DATABASE = "maia"
"""The database of MAIA's data."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What the plan must know of the machine it is for."""

    memory: int
    """MiB."""
    cpus: int


@dataclass(frozen=True, kw_only=True)
class ImageRef:
    """A built image."""

    id: str
    """``sha256:…``, or empty where it is not built yet."""
    user: str
    """``uid:gid`` its processes run as."""
    packages: Mapping[str, str] = field(default_factory=dict)
    """Installed packages and tools, with their versions."""


@dataclass(frozen=True, kw_only=True)
class Network:
    name: str
    zone: Zone
    subnet: str
    internal: bool
    masquerade: bool
    machine_address: bool
    """Whether the machine itself has an address on it; where not, no container can meet its listeners there."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """A port of the machine that leads to a container."""

    address: str
    port: int
    target: int


@dataclass(frozen=True, kw_only=True)
class Mount:
    """A volume (by name) in a container."""

    volume: str
    path: str
    part: str
    """Whose it is."""
    writable: bool = True


@dataclass(frozen=True, kw_only=True)
class Container:
    name: str
    part: str
    title: str
    image: str
    image_id: str
    version: str
    user: str
    """What its processes run as."""
    root: bool
    capabilities: tuple[str, ...]
    command: tuple[str, ...]
    env: dict[str, str]
    wire: dict[str, str]
    """Variables filled from credentials: a deviation."""
    addresses: dict[str, str]
    """Zone to its fixed address there."""
    ports: tuple[int, ...]
    published: tuple[Published, ...]
    dns: tuple[str, ...]
    files: tuple[File, ...]
    certificate: tuple[str, ...]
    reload: str
    """Signal on which it takes up a new certificate while it serves."""
    secrets: tuple[str, ...]
    """Secrets its files may use."""
    mounts: tuple[Mount, ...]
    scratch: tuple[str, ...]
    socket: str
    sockets: dict[str, str]
    """Part to where its socket folder is seen here."""
    groups: tuple[int, ...]
    """Of other parts, whose files it reads."""
    archive: str
    """Where the folder of recovery points is seen here; empty where it is not."""
    custodian: bool
    health: Health
    memory: int
    shared_memory: int
    cpus: float
    pids: int
    stop_seconds: int
    after: tuple[str, ...]
    migrate: tuple[str, ...]
    """Command run to its end, in a container of its own, before a new version of an app goes live."""
    migrate_addresses: dict[str, str]
    """Zone to the fixed address of that container."""
    candidate_addresses: dict[str, str]
    """Zone to the fixed address of an app's new version while it is tried beside the old one; empty: it is not."""
    backup: bool
    deviations: tuple[Deviation, ...]


@dataclass(frozen=True, kw_only=True)
class Role:
    """A Postgres role for a part, and its database if it owns one. Credential: ``secret``."""

    part: str
    role: str
    database: Database
    secret: str


@dataclass(frozen=True, kw_only=True)
class RedisUser:
    part: str
    user: str
    rules: Redis
    secret: str


@dataclass(frozen=True, kw_only=True)
class StoreUser:
    """An S3 user with one policy over its own buckets."""

    part: str
    user: str
    buckets: tuple[Bucket, ...]
    secret: str


@dataclass(frozen=True, kw_only=True)
class GatewayRoute:
    part: str
    host: str | None
    route: Route


@dataclass(frozen=True, kw_only=True)
class Target:
    """A scrape of one part."""

    part: str
    scrape: Scrape


@dataclass(frozen=True, kw_only=True)
class ProbeTarget:
    part: str
    probe: Probe


@dataclass(frozen=True, kw_only=True)
class Grant:
    """Egress that a person allowed."""

    part: str
    address: str
    endpoint: Endpoint


@dataclass(frozen=True, kw_only=True)
class Absent:
    """A part that is not there, and why."""

    part: str
    reason: str
    disabled: bool
    """Whether the owner wants it so."""


@dataclass(frozen=True, kw_only=True)
class Acme:
    """Where the gateway's certificate comes from."""

    directory: str
    email: str
    key_id: str
    roots: str
    """PEM of what a private directory and its certificates are trusted by; empty: the public roots."""


@dataclass(frozen=True, kw_only=True)
class Smtp:
    """Who takes the mail of the part auth."""

    host: str
    port: int
    tls: str
    sender: str
    user: str
    """Empty: nobody logs in."""


@dataclass(frozen=True, kw_only=True)
class Auth:
    """How people sign up and sign in; what is not said here is the service's own."""

    site_url: str
    redirects: tuple[str, ...]
    origins: tuple[str, ...]
    name: str
    """What mails call it."""
    signup: bool
    anonymous: bool
    autoconfirm: bool
    access_seconds: int
    idle_seconds: int
    absolute_seconds: int
    reuse_seconds: int
    link_seconds: int
    reauthenticate_seconds: int
    bcrypt_cost: int
    password_single: int
    password_second: int
    limits: dict[str, tuple[int, int]]
    """Those that the owner set."""
    smtp: Smtp | None


@dataclass(frozen=True, kw_only=True)
class Copy:
    """A place away from this machine that holds the archive too."""

    name: str
    repository: str
    """As restic names it."""
    place: str
    """As people do."""
    endpoint: Endpoint
    every: int
    """Minutes between two runs."""
    key_id: str = ""
    region: str = ""
    secret: str = ""
    """Name of the secret with the key of S3; empty for SSH."""
    roots: str = ""
    """PEM of what a private endpoint is trusted by; empty: the public roots."""
    user: str = ""
    """Of SSH; empty for S3."""
    host_key: str = ""


@dataclass(frozen=True, kw_only=True)
class BackupPolicy:
    """When recovery points are made, where, and for how long they are kept."""

    folder: str
    """Absolute, on this machine; empty for one in the site folder."""
    at: str
    """Time of day, ``HH:MM`` UTC; empty for never."""
    days: int
    drill: int
    """Days within which a drill must have gone well; 0 for never."""
    copies: tuple[Copy, ...] = ()


@dataclass(frozen=True, kw_only=True)
class HostRole:
    """A role that a server gets."""

    name: str
    variables: dict[str, Any]
    """Never a secret: of one, ``secret:`` and its name."""


@dataclass(frozen=True, kw_only=True)
class Host:
    """A server."""

    name: str
    address: str
    port: int
    login: str
    """Who lets us in at first."""
    kind: Literal["machine", "container"]
    """Whether it has a kernel of its own."""
    roles: tuple[HostRole, ...]
    """In their order."""
    secrets: tuple[str, ...]
    """Names of those that its roles need."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    stack: str
    running: bool
    origin: str
    """The canonical URL of the gateway."""
    names: tuple[str, ...]
    networks: tuple[Network, ...]
    containers: tuple[Container, ...]
    roles: tuple[Role, ...]
    redis_users: tuple[RedisUser, ...]
    store_users: tuple[StoreUser, ...]
    routes: tuple[GatewayRoute, ...]
    targets: tuple[Target, ...]
    probes: tuple[ProbeTarget, ...]
    grants: tuple[Grant, ...]
    hosts: tuple[Host, ...]
    on: str
    """The server that the containers run on; empty: this machine."""
    acme: Acme | None
    """Absent: the gateway serves the internal CA's certificate."""
    auth: Auth | None
    """Absent with the part."""
    absent: tuple[Absent, ...]
    database: str
    """The database of MAIA's data; empty: there is none."""
    backup: BackupPolicy
    reserve: int
    """MiB of disk that must stay free for the databases to take writes; 0: whatever is left."""
    settings: dict[str, Any]
    """The stack file's own keys, as they were given: with the secrets, all that makes this stack again."""
    secrets: tuple[str, ...]
    """Names of every secret the stack needs."""

    def absences(self) -> list[tuple[str, str]]:
        """For people: who is absent and why; those that the owner disabled as one."""
        disabled = ", ".join(absent.part for absent in self.absent if absent.disabled)
        told = [(absent.part, absent.reason) for absent in self.absent if not absent.disabled]
        return told + ([(disabled, "disabled in the stack file")] if disabled else [])

    def container(self, part: str) -> Container:
        return next(container for container in self.containers if container.part == part)

    def network(self, zone: Zone) -> Network:
        return next(network for network in self.networks if network.zone == zone)

    def has(self, part: str) -> bool:
        return any(container.part == part for container in self.containers)

    def data(self) -> dict[str, Any]:
        """The plan as plain data."""
        return dataclasses.asdict(self)

    def json(self) -> str:
        return json.dumps(self.data(), indent=2, sort_keys=True, default=str)

    @property
    def hash(self) -> str:
        """SHA-256 of the canonical JSON: evidence names the plan it was compared with."""
        return hashlib.sha256(self.json().encode()).hexdigest()
