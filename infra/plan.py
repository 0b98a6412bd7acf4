"""The plan: everything a stack consists of, decided before anything is done.

Pure: configuration, machine size and image references in, a ``Plan`` out. The Pulumi program carries it out,
the checks compare with it, and ``maia plan`` prints it. It holds no secret, only the names of secrets.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import Any

from infra import catalog
from infra.catalog.app import as_service
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
    Service,
    Zone,
)
from infra.config import Config, nearest
from infra.errors import MaiaError

RESERVED = frozenset({"admin", "default", "health", "administrators", "root"})
"""Names of fixed users and folders that no app may take."""

EXIT_PROXY = "exit"
EXIT_PORT = 3128


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
    secrets: tuple[str, ...]
    """Secrets its files may use."""
    mounts: tuple[Mount, ...]
    scratch: tuple[str, ...]
    socket: str
    health: Health
    memory: int
    shared_memory: int
    cpus: float
    pids: int
    stop_seconds: int
    after: tuple[str, ...]
    migrate: tuple[str, ...]
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
    absent: tuple[Absent, ...]
    secrets: tuple[str, ...]
    """Names of every secret the stack needs."""

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


def build(stack: str, config: Config, machine: Machine, images: Mapping[str, ImageRef]) -> Plan:
    """Decide everything.

    Args:
        stack: its name; part of every name on the machine.
        config: the stack file.
        machine: where it will run.
        images: by recipe name (``app:<name>`` for an app of the owner's own).

    Raises:
        MaiaError: where the configuration cannot be carried out, by key.
    """
    services, absent = _services(config, images)
    by_name = {service.name: service for service in services}
    _check_names(config, by_name)
    grants = _grants(config, services, _slots(by_name))
    containers = tuple(_container(stack, config, machine, service, images, grants, by_name) for service in services)
    _check_ports(config)
    _check_memory(containers, machine)
    roles = tuple(
        Role(part=s.name, role=s.name.replace("-", "_"), database=s.needs.database, secret=f"{s.name}-postgres")
        for s in services
        if s.needs.database
    )
    redis_users = tuple(
        RedisUser(part=s.name, user=s.name, rules=s.needs.redis, secret=f"{s.name}-redis")
        for s in services
        if s.needs.redis
    )
    store_users = tuple(
        StoreUser(part=s.name, user=s.name, buckets=s.needs.buckets, secret=f"{s.name}-s3")
        for s in services
        if s.needs.buckets
    )
    needs: tuple[Role | RedisUser | StoreUser, ...] = (*roles, *redis_users, *store_users)
    return Plan(
        stack=stack,
        running=config.running,
        origin=f"https://{config.gateway.names[0]}:{config.gateway.https}".removesuffix(":443"),
        names=tuple(config.gateway.names),
        networks=_networks(stack, config),
        containers=containers,
        roles=roles,
        redis_users=redis_users,
        store_users=store_users,
        routes=_routes(config, services),
        targets=tuple(Target(part=s.name, scrape=scrape) for s in services for scrape in s.scrape),
        probes=tuple(ProbeTarget(part=s.name, probe=s.probe) for s in services if s.probe),
        grants=grants,
        absent=absent,
        secrets=tuple(sorted({*(need.secret for need in needs), *(name for s in services for name in s.secrets)})),
    )


def _services(config: Config, images: Mapping[str, ImageRef]) -> tuple[list[Service], tuple[Absent, ...]]:
    present, absent = [], []
    for service in catalog.SERVICES:
        settings = config.parts.get(service.name)
        if settings and not settings.enabled:
            absent.append(Absent(part=service.name, reason=f"disabled by maia:parts.{service.name}.enabled"))
        elif service.archive_only and service.image not in images:
            absent.append(Absent(part=service.name, reason="no archive or registry offers its official image here"))
        else:
            present.append(service)
    for name, app in sorted(config.apps.items()):
        present.append(as_service(name, app))
    return present, tuple(absent)


def _check_names(config: Config, services: Mapping[str, Service]) -> None:
    known = {service.name for service in catalog.SERVICES}
    for name in config.parts:
        if name not in known:
            raise MaiaError("unknown part", where=f"maia:parts.{name}", mend=nearest(name, known))
    for name in config.apps:
        if name in known | RESERVED:
            raise MaiaError("the name belongs to the appliance", where=f"maia:apps.{name}", mend="rename it")
    for name in config.egress:
        if name not in services:
            raise MaiaError("unknown part", where=f"maia:egress.{name}", mend=nearest(name, services))
    for service in services.values():
        for other in _after(service):
            if other not in services:
                raise MaiaError(
                    f"{service.name} needs {other}, which is not enabled",
                    where=f"maia:parts.{other}.enabled",
                    mend=f"enable {other}, or disable {service.name} too",
                )


def _slots(names: Iterable[str]) -> dict[str, int]:
    """The last byte of each part's address: from its name, so that adding a part moves no other."""
    taken: dict[int, str] = {}
    for name in sorted(names):
        slot = zlib.crc32(name.encode()) % 240
        while slot in taken:
            slot = (slot + 1) % 240
        taken[slot] = name
    return {name: slot + 10 for slot, name in taken.items()}


def _subnet(config: Config, zone: Zone) -> IPv4Network:
    return list(config.subnet.subnets(new_prefix=24))[list(Zone).index(zone)]


def _networks(stack: str, config: Config) -> tuple[Network, ...]:
    return tuple(
        Network(
            name=f"maia-{stack}-{zone}",
            zone=zone,
            subnet=str(_subnet(config, zone)),
            internal=zone.internal,
            masquerade=zone is Zone.OUTSIDE,
            machine_address=not zone.internal,
        )
        for zone in Zone
    )


def _grants(config: Config, services: list[Service], slots: Mapping[str, int]) -> tuple[Grant, ...]:
    exit_subnet = _subnet(config, Zone.EXIT)
    return tuple(
        Grant(
            part=service.name,
            address=str(exit_subnet[slots[service.name]]),
            endpoint=Endpoint(host=place.host, port=place.port),
        )
        for service in services
        for place in config.egress.get(service.name, ())
    )


def _container(
    stack: str,
    config: Config,
    machine: Machine,
    service: Service,
    images: Mapping[str, ImageRef],
    grants: tuple[Grant, ...],
    services: Mapping[str, Service],
) -> Container:
    image = images.get(service.image, ImageRef(id="", user="65534:65534"))
    settings = config.parts.get(service.name)
    limits = service.limits
    share = min(int(machine.memory * limits.share) // 64 * 64, limits.most)
    memory = (settings and settings.memory) or max(limits.memory, share)
    zones = [*service.zones]
    env = dict(service.env)
    granted = any(grant.part == service.name for grant in grants)
    if granted:
        zones.append(Zone.EXIT)
        env["HTTPS_PROXY"] = env["HTTP_PROXY"] = f"http://{EXIT_PROXY}:{EXIT_PORT}"
    way_out = service.name == EXIT_PROXY and bool(grants)
    if way_out:
        zones.append(Zone.OUTSIDE)
    app = config.apps.get(service.name)
    wire: dict[str, str] = {**app.wire} if app else {}
    slot = _slots(services)[service.name]
    needs = service.needs
    credentials = [
        f"{service.name}-{kind}"
        for kind, need in (("postgres", needs.database), ("redis", needs.redis), ("s3", needs.buckets))
        if need
    ]
    return Container(
        name=f"maia-{stack}-{service.name}",
        part=service.name,
        title=service.title,
        image=service.image,
        image_id=image.id,
        version=image.packages.get(service.version_of, ""),
        user=image.user,
        root=service.root,
        capabilities=service.capabilities,
        command=service.command,
        env=dict(sorted(env.items())),
        wire=wire,
        addresses={str(zone): str(_subnet(config, zone)[slot]) for zone in zones},
        ports=_listening(service, config),
        published=_published(config) if Zone.EDGE in zones else (),
        # Docker before 23.0.11 resolves outside names for containers on internal networks (CVE-2024-29018).
        # Naming a resolver that is not there closes it for every version; names of parts still resolve.
        dns=() if way_out else ("127.0.0.1",),
        files=service.files,
        certificate=service.certificate,
        secrets=tuple(sorted({*service.secrets, *credentials})),
        mounts=tuple(
            Mount(volume=f"maia-{stack}-{service.name}-{volume.name}", path=volume.path, part=service.name)
            for volume in service.volumes
        ),
        scratch=service.scratch,
        socket=service.socket,
        health=service.health,
        memory=memory,
        shared_memory=memory // 4 if limits.shared else 0,
        cpus=min((settings and settings.cpus) or limits.cpus, float(machine.cpus)),
        pids=limits.pids,
        stop_seconds=service.stop_seconds,
        after=_after(service),
        migrate=tuple(app.migrate) if app else (),
        backup=service.backup,
        deviations=service.deviations
        + tuple(
            Deviation(field="env", value=name, reason="the app reads this credential from its environment only")
            for name in wire
        ),
    )


def _after(service: Service) -> tuple[str, ...]:
    needs = service.needs
    implied = [
        part for part, need in (("postgres", needs.database), ("redis", needs.redis), ("s3", needs.buckets)) if need
    ]
    return tuple(dict.fromkeys((*service.after, *implied)))


def _listening(service: Service, config: Config) -> tuple[int, ...]:
    """The ports of a part; the gateway's plain-HTTP listener is there only where it is asked for."""
    if Zone.EDGE in service.zones:
        return tuple(port.target for port in _published(config))
    return service.ports


def _published(config: Config) -> tuple[Published, ...]:
    gateway = config.gateway
    ports = [Published(address=str(gateway.address), port=gateway.https, target=8443)]
    if gateway.http is not None:
        ports.append(Published(address="127.0.0.1", port=gateway.http, target=8080))
    return tuple(ports)


def _routes(config: Config, services: list[Service]) -> tuple[GatewayRoute, ...]:
    routes = [GatewayRoute(part=s.name, host=None, route=route) for s in services for route in s.routes]
    for name, app in sorted(config.apps.items()):
        if app.route:
            routes.append(GatewayRoute(part=name, host=app.route.host, route=Route(path=app.route.path, port=app.port)))
    seen: dict[tuple[str | None, str], str] = {}
    for route in routes:
        key = (route.host, route.route.path)
        if key in seen:
            raise MaiaError(
                f"the path {route.route.path} already leads to {seen[key]}",
                where=f"maia:apps.{route.part}.route",
                mend="choose another path or host",
            )
        if route.host and route.host not in config.gateway.names:
            raise MaiaError(
                f"the gateway has no name {route.host!r}",
                where=f"maia:apps.{route.part}.route.host",
                mend="add it to maia:gateway.names",
            )
        seen[key] = route.part
    return tuple(routes)


def _check_ports(config: Config) -> None:
    if config.gateway.http == config.gateway.https:
        raise MaiaError(
            f"port {config.gateway.http} is also maia:gateway.https",
            where="maia:gateway.http",
            mend="choose another port",
        )


def _check_memory(containers: tuple[Container, ...], machine: Machine) -> None:
    wanted = sum(container.memory for container in containers)
    if wanted > machine.memory:
        largest = max(containers, key=lambda container: container.memory)
        raise MaiaError(
            f"the parts' limits add up to {wanted} MiB, the machine has {machine.memory} MiB",
            where=f"maia:parts.{largest.part}.memory",
            mend="lower the largest limit, or use a larger machine",
        )
