"""The plan: everything a stack consists of, decided before anything is done.

Pure: configuration, machine size and image references in, a ``Plan`` out. The Pulumi program carries it out,
the checks compare with it, and ``maia plan`` prints it. It holds no secret, only the names of secrets.
"""

from __future__ import annotations

from collections.abc import Mapping

from infra import catalog, target
from infra.auth import Auth as Accounts
from infra.catalog import acme, auth, backup
from infra.catalog.app import as_service
from infra.catalog.model import Endpoint, Probe, Route, Service
from infra.config import Config
from infra.errors import MaiaError
from infra.plan import rules
from infra.plan.containers import EXIT_PORT, EXIT_PROXY, container
from infra.plan.hosts import Decided, servers
from infra.plan.model import (
    DATABASE,
    ENVELOPE,
    EVIDENCE,
    Absent,
    Acme,
    Auth,
    BackupPolicy,
    Container,
    Copy,
    GatewayRoute,
    Grant,
    Host,
    HostRole,
    ImageRef,
    Machine,
    Mount,
    Network,
    Plan,
    ProbeTarget,
    RedisUser,
    Role,
    Smtp,
    StoreUser,
    Target,
)
from infra.plan.networks import grants, networks, slots

__all__ = [
    "DATABASE",
    "ENVELOPE",
    "EXIT_PORT",
    "EXIT_PROXY",
    "Absent",
    "Acme",
    "Auth",
    "BackupPolicy",
    "Container",
    "Copy",
    "GatewayRoute",
    "Grant",
    "Host",
    "HostRole",
    "ImageRef",
    "Machine",
    "Mount",
    "Network",
    "Plan",
    "ProbeTarget",
    "RedisUser",
    "Role",
    "Smtp",
    "StoreUser",
    "Target",
    "build",
]

PROBER = "blackbox-exporter"


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
    rules.check_names(config, by_name)
    granted = grants(config, services, slots(config, by_name))
    containers = tuple(container(stack, config, machine, service, images, granted, by_name) for service in services)
    rules.check_place(config)
    rules.check_ports(config)
    rules.check_memory(containers, machine)
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
    zones = networks(stack, config)
    hosts = servers(Decided(config=config, networks=zones, containers=containers, grants=granted))
    needs: tuple[Role | RedisUser | StoreUser, ...] = (*roles, *redis_users, *store_users)
    return Plan(
        stack=stack,
        running=config.running,
        origin=_origin(config),
        names=tuple(config.gateway.names),
        networks=zones,
        containers=containers,
        roles=roles,
        redis_users=redis_users,
        store_users=store_users,
        routes=_routes(config, services),
        targets=tuple(Target(part=s.name, scrape=scrape) for s in services for scrape in s.scrape),
        probes=_probes(services, containers),
        grants=granted,
        hosts=hosts,
        on=config.on or "",
        acme=_acme(config),
        auth=_auth(config) if auth.SERVICE.name in by_name else None,
        absent=absent,
        database=DATABASE if config.database.enabled and "postgres" in by_name else "",
        reserve=config.care.reserve,
        backup=_backup(config),
        settings=config.model_dump(mode="json", exclude_unset=True, exclude={"running"}),
        secrets=tuple(
            sorted(
                {
                    EVIDENCE,
                    *(need.secret for need in needs),
                    *(name for s in services for name in s.secrets),
                    *(name for host in hosts for name in host.secrets),
                    *([ENVELOPE] if config.database.enabled and "postgres" in by_name else []),
                }
            )
        ),
    )


def _services(config: Config, images: Mapping[str, ImageRef]) -> tuple[list[Service], tuple[Absent, ...]]:
    present, absent = [], []
    for service in catalog.SERVICES:
        settings = config.parts.get(service.name)
        if settings and settings.enabled is False:
            absent.append(
                Absent(part=service.name, reason=f"disabled by maia:parts.{service.name}.enabled", disabled=True)
            )
        elif service.archive_only and service.image not in images:
            reason = (
                f"its official image is not to be had here until maia:parts.{service.name} names an archive or image"
            )
            absent.append(Absent(part=service.name, reason=reason, disabled=False))
        elif _asked(service, config):
            present.append(_fitted(service, config))
    for name, app in sorted(config.apps.items()):
        present.append(as_service(name, app))
    return present, tuple(absent)


def _asked(service: Service, config: Config) -> bool:
    """Whether a part is to be there that nobody disabled."""
    if service is acme.SERVICE:
        return config.gateway.acme is not None
    settings = config.parts.get(service.name)
    return not service.optional or bool(settings and settings.enabled)


def _fitted(service: Service, config: Config) -> Service:
    """The part as it is where something outside was asked for."""
    if service is backup.SERVICE:
        return backup.keeper(config.backup.copies)
    if service is auth.SERVICE:
        return auth.service(config.auth or Accounts())
    if not (asked := config.gateway.acme):
        return service
    match service.name:
        case "acme":
            return acme.client(asked)
        case "gateway":
            return acme.server(service)
        case "blackbox-exporter":
            return acme.prober(service, asked)
    return service


def _acme(config: Config) -> Acme | None:
    if not (asked := config.gateway.acme):
        return None
    return Acme(directory=asked.directory, email=asked.email or "", key_id=asked.key_id or "", roots=asked.roots or "")


def _origin(config: Config) -> str:
    """The canonical URL of the gateway."""
    return f"https://{config.gateway.names[0]}:{config.gateway.https}".removesuffix(":443")


def _auth(config: Config) -> Auth:
    asked = config.auth or Accounts()
    smtp = asked.smtp
    return Auth(
        site_url=asked.site_url or _origin(config),
        redirects=tuple(asked.redirects),
        origins=tuple(asked.origins),
        name=asked.name,
        signup=asked.signup,
        anonymous=asked.anonymous,
        autoconfirm=asked.autoconfirm,
        access_seconds=asked.access_seconds,
        idle_seconds=asked.idle_seconds,
        absolute_seconds=asked.absolute_seconds,
        reuse_seconds=asked.reuse_seconds,
        link_seconds=asked.link_seconds,
        reauthenticate_seconds=asked.reauthenticate_seconds,
        bcrypt_cost=asked.bcrypt_cost,
        password_single=asked.password_single,
        password_second=asked.password_second,
        limits=dict(sorted(asked.limits.items())),
        smtp=Smtp(host=smtp.host, port=smtp.port, tls=smtp.tls, sender=smtp.sender, user=smtp.user or "")
        if smtp
        else None,
    )


def _backup(config: Config) -> BackupPolicy:
    asked = config.backup
    copies = tuple(_copy(name, each) for name, each in sorted(asked.copies.items()))
    return BackupPolicy(
        folder=asked.folder or "", at=asked.at or "", days=asked.days, drill=asked.drill or 0, copies=copies
    )


def _copy(name: str, asked: target.Copy) -> Copy:
    endpoint = Endpoint(host=asked.place.destination.host, port=asked.place.destination.port)
    if s3 := asked.s3:
        place = "/".join((s3.endpoint, s3.bucket, *([s3.prefix] if s3.prefix else ())))
        return Copy(
            name=name,
            repository=f"s3:{place}",
            place=place,
            endpoint=endpoint,
            every=asked.every,
            key_id=s3.key_id,
            region=s3.region,
            secret=backup.secret(name),
            roots=s3.roots or "",
        )
    assert asked.ssh
    return Copy(
        name=name,
        repository=f"sftp:{name}:{asked.ssh.path}",
        place=f"sftp://{asked.ssh.user}@{endpoint}{asked.ssh.path}",
        endpoint=endpoint,
        every=asked.every,
        user=asked.ssh.user,
        host_key=asked.ssh.host_key,
    )


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


def _probes(services: list[Service], containers: tuple[Container, ...]) -> tuple[ProbeTarget, ...]:
    """What the blackbox exporter asks; nothing, where it is not there."""
    if PROBER not in {service.name for service in services}:
        return ()
    return tuple(
        ProbeTarget(
            part=service.name,
            probe=Probe(module=service.probe.module, target=service.probe.target.format(**container.addresses)),
        )
        for service, container in zip(services, containers)
        if service.probe
    )
