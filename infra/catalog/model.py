"""What a part of the appliance says about itself.

A catalog entry is the only place where a service is described. Networks, firewall,
scrapes, routes, credentials, limits and the baseline checks all follow from it
(``infra.plan``), so adding a service means adding an entry, not editing seven lists.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Zone(StrEnum):
    """A network with one purpose; parts meet only in a zone they share."""

    EDGE = "edge"
    """The only published ports. No masquerade."""
    APPS = "apps"
    DATA = "data"
    OPS = "ops"
    STORE = "store"
    """MinIO and the S3 route in front of it, nobody else."""
    EXIT = "exit"
    """Between the exit proxy and the parts a person allowed to use it."""
    OUTSIDE = "outside"
    """The only network with a way out; joined by the exit proxy while any egress is allowed."""

    @property
    def internal(self) -> bool:
        """Whether the zone has no route to anywhere, the machine itself included."""
        return self not in (Zone.EDGE, Zone.OUTSIDE)


@dataclass(frozen=True, kw_only=True)
class File:
    """A file rendered from ``templates/<template>`` and mounted read-only.

    ``path`` begins with ``/etc/maia/`` (configuration, 0444) or ``/run/secrets/`` (0400, only there may a
    template ask for secrets). A ``live`` file is read again by the part itself, so its change replaces nothing.
    """

    path: str
    template: str
    live: bool = False

    @property
    def secret(self) -> bool:
        return self.path.startswith("/run/secrets/")


@dataclass(frozen=True, kw_only=True)
class Volume:
    """Data that outlives the container; kept when the part is removed."""

    name: str
    path: str


@dataclass(frozen=True, kw_only=True)
class Share:
    """What another part keeps, seen by this one too: a volume of its, or (where none is named) its socket folder."""

    part: str
    path: str
    volume: str = ""
    writable: bool = False
    """A socket is spoken to either way."""


@dataclass(frozen=True, kw_only=True)
class Health:
    """A command run inside the container that succeeds only on the answer it expects."""

    command: tuple[str, ...]
    patience: int = 60
    """Seconds from start within which it must have succeeded."""


@dataclass(frozen=True, kw_only=True)
class Scrape:
    """Metrics that Prometheus reads; the part must share the ``ops`` zone."""

    port: int
    path: str = "/metrics"


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A black-box probe of the part: ``module`` of the blackbox exporter against ``target``.

    ``{zone}`` in the target stands for the part's address there: its name alone may lead to any zone both share.
    """

    module: str
    target: str


@dataclass(frozen=True, kw_only=True)
class Route:
    """A path of the gateway that leads to this part."""

    path: str
    port: int
    operator: bool = False
    """Whether the operator's login is asked for."""
    strip: bool = False
    """Whether the path prefix is removed before the part sees it."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Memory in MiB. ``share`` of the machine's memory raises it, up to ``most``."""

    memory: int
    cpus: float = 1.0
    pids: int = 128
    share: float = 0.0
    most: int = 0
    shared: bool = False
    """Whether it needs a quarter of its memory as /dev/shm; others get Docker's 64 MiB."""


@dataclass(frozen=True, kw_only=True)
class Database:
    """A database of the part's own, or membership in predefined roles of an existing one."""

    name: str
    extensions: tuple[str, ...] = ()
    member_of: tuple[str, ...] = ()
    """Roles whose rights it has there (``pg_monitor``); then the part owns nothing in it."""

    @property
    def owner(self) -> bool:
        return not self.member_of


@dataclass(frozen=True, kw_only=True)
class Bucket:
    name: str
    versioned: bool = True


@dataclass(frozen=True, kw_only=True)
class Redis:
    """What the part's Redis user may do."""

    keys: tuple[str, ...]
    channels: tuple[str, ...] = ()
    commands: tuple[str, ...] = ("+@all", "-@admin", "-@dangerous", "+info")


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What must exist elsewhere before the part starts; removed with it, data excepted."""

    database: Database | None = None
    buckets: tuple[Bucket, ...] = ()
    redis: Redis | None = None


@dataclass(frozen=True, kw_only=True)
class Deviation:
    """A departure from the container baseline: which field, to what, and why. A check prints it."""

    field: str
    value: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A place outside, by name."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, kw_only=True)
class Service:
    """One part of the appliance."""

    name: str
    title: str
    """What a person reads on the status page: what it is for."""
    image: str
    """A recipe in ``infra/images``."""
    zones: tuple[Zone, ...]
    health: Health
    limits: Limits
    version_of: str = ""
    """The Debian package or tool whose version is shown as the part's version."""
    command: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    """TCP ports it listens on inside its zones."""
    env: dict[str, str] = field(default_factory=dict)
    """Never a secret."""
    files: tuple[File, ...] = ()
    secrets: tuple[str, ...] = ()
    """Names of generated secrets its files use, beside the credentials its needs bring."""
    certificate: tuple[str, ...] = ()
    """DNS names of a TLS certificate from the internal CA, as /run/secrets/tls.{crt,key}."""
    reload: str = ""
    """Signal on which it takes up a new certificate while it serves; without one, that means a new container."""
    volumes: tuple[Volume, ...] = ()
    shares: tuple[Share, ...] = ()
    groups: tuple[str, ...] = ()
    """Parts whose files its processes may read, by their group."""
    archive: str = ""
    """Where it sees the owner's folder of recovery points."""
    custodian: bool = False
    """Whether its secret files may hold every secret of the stack: what keeps them for the day of a loss."""
    scratch: tuple[str, ...] = ("/tmp",)
    """tmpfs mounts, owned by the part's user."""
    socket: str = ""
    """Folder in the container with an administrative unix socket that the machine's root may use."""
    needs: Needs = Needs()
    scrape: tuple[Scrape, ...] = ()
    probe: Probe | None = None
    routes: tuple[Route, ...] = ()
    backup: bool = False
    """Whether its volumes hold truth."""
    deviations: tuple[Deviation, ...] = ()
    capabilities: tuple[str, ...] = ()
    root: bool = False
    """Whether the entrypoint starts as root to drop to the image's user itself."""
    optional: bool = False
    """Whether it is there only where the owner enables it."""
    archive_only: bool = False
    """Whether the image comes from elsewhere by digest and may be absent (Grafana)."""
    user: str = ""
    """``uid:gid`` of an image that is not made here; a recipe states that of its own."""
    stop_seconds: int = 10
    after: tuple[str, ...] = ()
    """Parts that must be healthy before this one starts."""
