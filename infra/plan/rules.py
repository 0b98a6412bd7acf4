"""What cannot be carried out is refused here, by the key of the stack file that asks for it."""

from __future__ import annotations

from collections.abc import Mapping

from infra import catalog
from infra.catalog import acme, auth
from infra.catalog.model import Service
from infra.config import Config, nearest
from infra.errors import MaiaError
from infra.plan.containers import after
from infra.plan.model import Container, Machine
from infra.plan.networks import candidate, migration

RESERVED = frozenset(
    {
        *("admin", "default", "health", "administrators", "root"),
        *("none", "public", "template0", "template1"),
        *("maia", "maia-owner", "maia-auditor", "maia-auth", "anon", "authenticated", "service-role"),
        *("consoleadmin", "diagnostics", "readonly", "readwrite", "writeonly"),
    }
)
"""Names of fixed users, folders, databases and policies that no app may take."""


def check_names(config: Config, services: Mapping[str, Service]) -> None:
    known = {service.name for service in catalog.SERVICES}
    made_here = {service.name for service in catalog.SERVICES if not service.archive_only}
    for name, settings in config.parts.items():
        if name not in known:
            raise MaiaError("unknown part", where=f"maia:parts.{name}", mend=nearest(name, known))
        if (settings.image or settings.archive) and name in made_here:
            raise MaiaError("its image is made here", where=f"maia:parts.{name}", mend="remove image and archive")
    for name, app in config.apps.items():
        if name in known | RESERVED or name.startswith("pg-"):
            raise MaiaError("the name belongs to the appliance", where=f"maia:apps.{name}", mend="rename it")
        taken = ((app.migrate, migration(name), "migration"), (app.trial, candidate(name), "candidate"))
        for used, other, what in taken:
            if used and other in config.apps:
                raise MaiaError(
                    f"the name is that of the {what} of {name}", where=f"maia:apps.{other}", mend="rename it"
                )
    if config.gateway.acme and acme.SERVICE.name not in services:
        raise MaiaError(
            "maia:gateway.acme needs it", where="maia:parts.acme.enabled", mend="enable it, or remove maia:gateway.acme"
        )
    check_auth(config, services)
    for name in config.egress:
        if name not in services:
            raise MaiaError("unknown part", where=f"maia:egress.{name}", mend=nearest(name, services))
    for service in services.values():
        for other in after(service):
            if other not in services:
                raise MaiaError(
                    f"{service.name} needs {other}, which is not enabled",
                    where=f"maia:parts.{other}.enabled",
                    mend=f"enable {other}, or disable {service.name} too",
                )


def check_auth(config: Config, services: Mapping[str, Service]) -> None:
    """What was said of it must reach it, and its tables must have a place."""
    name = auth.SERVICE.name
    told = config.parts.get(name)
    if config.auth and (told is None or told.enabled is None):
        raise MaiaError(
            "maia:auth needs it", where=f"maia:parts.{name}.enabled", mend="set it to true, or remove maia:auth"
        )
    if name in services and not config.database.enabled:
        raise MaiaError(
            f"{name} keeps its tables there",
            where="maia:database.enabled",
            mend=f"enable it, or disable {name} too",
        )


def check_ports(config: Config) -> None:
    gateway = config.gateway
    taken = {gateway.https: "maia:gateway.https"}
    for key, port in (("http", gateway.http), ("acme.http", gateway.acme.http if gateway.acme else None)):
        if port in taken:
            raise MaiaError(
                f"port {port} is also {taken[port]}", where=f"maia:gateway.{key}", mend="choose another port"
            )
        if port is not None:
            taken[port] = f"maia:gateway.{key}"


def check_place(config: Config) -> None:
    """On a server, loopback is nobody's who is meant to meet the gateway; and a name must be a server's."""
    if config.on and config.on not in config.hosts:
        raise MaiaError(f"no server {config.on!r}", where="maia:on", mend=nearest(config.on, config.hosts))
    if config.on and config.gateway.address.is_loopback:
        raise MaiaError(
            f"{config.gateway.address} would be {config.on}'s own loopback",
            where="maia:gateway.address",
            mend=f"name an address of {config.on}, or 0.0.0.0",
        )


def check_memory(containers: tuple[Container, ...], machine: Machine) -> None:
    wanted = sum(container.memory for container in containers)
    if wanted > machine.memory:
        largest = max(containers, key=lambda container: container.memory)
        raise MaiaError(
            f"the parts' limits add up to {wanted} MiB, the machine has {machine.memory} MiB",
            where=f"maia:parts.{largest.part}.memory",
            mend="lower the largest limit, or use a larger machine",
        )
