"""One container of the plan: a catalog entry, fitted to the machine and to what the owner set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from infra.catalog.model import Deviation, Service, Zone
from infra.config import Config
from infra.plan.model import Container, Grant, ImageRef, Machine, Mount, Published
from infra.plan.networks import candidate, migration, slots, subnet

EXIT_PROXY = "exit"
EXIT_PORT = 3128


def container(
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
    places = slots(config, services)

    def stand(name: str) -> dict[str, str]:
        return {str(zone): str(subnet(config, zone)[places[name]]) for zone in zones}

    needs = service.needs
    # A part that the owner disabled keeps nothing to see.
    shares = [share for share in service.shares if share.part in services]
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
        addresses=stand(service.name),
        ports=_listening(service, config),
        published=_published(config) if Zone.EDGE in zones else (),
        # Docker before 23.0.11 resolves outside names for containers on internal networks (CVE-2024-29018).
        # Naming a resolver that is not there closes it for every version; names of parts still resolve.
        dns=() if way_out else ("127.0.0.1",),
        files=service.files,
        certificate=service.certificate,
        reload=service.reload,
        secrets=tuple(sorted({*service.secrets, *credentials})),
        mounts=tuple(
            Mount(volume=f"maia-{stack}-{service.name}-{volume.name}", path=volume.path, part=service.name)
            for volume in service.volumes
        )
        + tuple(
            Mount(
                volume=f"maia-{stack}-{share.part}-{share.volume}",
                path=share.path,
                part=share.part,
                writable=share.writable,
            )
            for share in shares
            if share.volume
        ),
        scratch=service.scratch,
        socket=service.socket,
        sockets={share.part: share.path for share in shares if not share.volume},
        groups=tuple(
            int(images[services[name].image].user.partition(":")[2])
            for name in service.groups
            if name in services and services[name].image in images
        ),
        archive=service.archive,
        custodian=service.custodian,
        health=service.health,
        memory=memory,
        shared_memory=memory // 4 if limits.shared else 0,
        cpus=min((settings and settings.cpus) or limits.cpus, float(machine.cpus)),
        pids=limits.pids,
        stop_seconds=service.stop_seconds,
        after=after(service, [share.part for share in shares if service.name not in after(services[share.part])]),
        migrate=tuple(app.migrate) if app else (),
        migrate_addresses=stand(migration(service.name)) if app and app.migrate else {},
        candidate_addresses=stand(candidate(service.name)) if app and app.trial else {},
        backup=service.backup,
        deviations=service.deviations
        + tuple(
            Deviation(field="env", value=name, reason="the app reads this credential from its environment only")
            for name in wire
        ),
    )


def after(service: Service, shared: Sequence[str] = ()) -> tuple[str, ...]:
    """The parts that must answer before this one is made.

    Args:
        shared: whose volumes it reads and who do not wait for it: Docker gives an empty one to whoever owns its path
            in the image of the part that is made last.
    """
    needs = service.needs
    implied = [
        part for part, need in (("postgres", needs.database), ("redis", needs.redis), ("s3", needs.buckets)) if need
    ]
    return tuple(dict.fromkeys((*service.after, *implied, *shared)))


def _listening(service: Service, config: Config) -> tuple[int, ...]:
    """The ports of a part; the gateway's plain listeners are there only where they are asked for."""
    if Zone.EDGE in service.zones:
        return tuple(port.target for port in _published(config))
    return service.ports


def _published(config: Config) -> tuple[Published, ...]:
    gateway = config.gateway
    ports = [Published(address=str(gateway.address), port=gateway.https, target=8443)]
    if gateway.http is not None:
        ports.append(Published(address="127.0.0.1", port=gateway.http, target=8080))
    if gateway.acme:
        ports.append(Published(address=str(gateway.address), port=gateway.acme.http, target=8082))
    return tuple(ports)
