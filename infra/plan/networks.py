"""Where parts stand: the zones' networks and each part's fixed address in them."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network

from infra.catalog import acme, auth, backup
from infra.catalog.model import Endpoint, Service, Zone
from infra.config import Config
from infra.fields import Destination
from infra.plan.model import Grant, Network


def migration(app: str) -> str:
    """What an app's migration is named after."""
    return f"{app}-migrate"


def candidate(app: str) -> str:
    """What an app's new version is named after, while it is tried."""
    return f"{app}-candidate"


def slots(config: Config, parts: Iterable[str]) -> dict[str, int]:
    """The last byte of each address, of migrations and candidates too: from a name, so that adding a part moves no
    other."""
    migrations = [migration(name) for name, app in config.apps.items() if app.migrate]
    candidates = [candidate(name) for name, app in config.apps.items() if app.trial]
    taken: dict[int, str] = {}
    for name in [*sorted({*parts, *migrations}), *sorted(candidates)]:
        slot = zlib.crc32(name.encode()) % 240
        while slot in taken:
            slot = (slot + 1) % 240
        taken[slot] = name
    return {name: slot + 10 for slot, name in taken.items()}


def subnet(config: Config, zone: Zone) -> IPv4Network:
    return list(config.subnet.subnets(new_prefix=24))[list(Zone).index(zone)]


def networks(stack: str, config: Config) -> tuple[Network, ...]:
    return tuple(
        Network(
            name=f"maia-{stack}-{zone}",
            zone=zone,
            subnet=str(subnet(config, zone)),
            internal=zone.internal,
            masquerade=zone is Zone.OUTSIDE,
            machine_address=not zone.internal,
        )
        for zone in Zone
    )


def grants(config: Config, services: list[Service], slots: Mapping[str, int]) -> tuple[Grant, ...]:
    exit_subnet = subnet(config, Zone.EXIT)
    return tuple(
        Grant(
            part=service.name,
            address=str(exit_subnet[slots[service.name]]),
            endpoint=Endpoint(host=place.host, port=place.port),
        )
        for service in services
        for place in _places(config, service.name)
    )


def _places(config: Config, part: str) -> Iterable[Destination]:
    """What the owner has opened for the part; directory of certificates, copies, mail server, by having named them."""
    if config.gateway.acme and part == acme.SERVICE.name:
        yield config.gateway.acme.endpoint
    if part == backup.SERVICE.name:
        yield from (copy.place.destination for copy in config.backup.copies.values())
    if config.auth and config.auth.smtp and part == auth.SERVICE.name:
        yield config.auth.smtp.endpoint
    yield from config.egress.get(part, ())
