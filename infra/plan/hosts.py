"""The servers of a stack, and what each of them gets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from infra import host, specs
from infra.catalog.model import Zone
from infra.config import PREFIX, Config, nearest
from infra.errors import MaiaError
from infra.plan.model import Container, Grant, Host, HostRole, Network

ORDER = (
    "base", "users", "ssh", "firewall", "hardening", "audit", "updates", "disks", "docker", "gpu", "metrics",
    "integrity",
)  # fmt: skip
"""The roles of every server, in the order in which they are carried out."""
ASKED = frozenset({"docker"})
"""Roles of those servers only that the parts run on, or whose stack file names the role."""


@dataclass(frozen=True, kw_only=True)
class Decided:
    """What of the plan a server's roles may need to know."""

    config: Config
    networks: tuple[Network, ...]
    containers: tuple[Container, ...]
    grants: tuple[Grant, ...]


def firewall(decided: Decided, name: str) -> dict[str, Any]:
    """What may come in, go out and meet: on the server of the parts as the zones say."""
    config = decided.config
    found: dict[str, Any] = {"firewall_ssh_port": config.hosts[name].port}
    if name != config.on:
        return found
    ports = sorted({grant.endpoint.port for grant in decided.grants})
    outside = [str(container.addresses.get(Zone.OUTSIDE, "")) for container in decided.containers]
    return found | {
        "firewall_published": [
            {"port": port} for port in sorted({port.port for each in decided.containers for port in each.published})
        ],
        "firewall_networks": [
            {"subnet": network.subnet, "reachable": network.zone is Zone.EDGE} for network in decided.networks
        ],
        "firewall_exits": [{"source": address, "ports": ports} for address in outside if address],
    }


def docker(decided: Decided, name: str) -> dict[str, Any]:
    """Who makes the containers there may use a hardened Docker too."""
    return {"docker_members": [host.AUTOMATION]} if name == decided.config.on else {}


COMPUTED: Mapping[str, Callable[[Decided, str], dict[str, Any]]] = {"firewall": firewall, "docker": docker}
"""Role to what the plan itself tells it about a server."""


def roles() -> tuple[str, ...]:
    """Those there are, in their order."""
    return tuple(role for role in ORDER if specs.there(role))


def servers(decided: Decided) -> tuple[Host, ...]:
    """Every server of the stack file, with its roles.

    Raises:
        MaiaError: a role is told what it does not know.
    """
    return tuple(_host(decided, name, asked) for name, asked in sorted(decided.config.hosts.items()))


def _host(decided: Decided, name: str, asked: host.Host) -> Host:
    where = f"{PREFIX}hosts.{name}.roles"
    present = roles()
    for role in asked.roles:
        if role not in present:
            raise MaiaError("unknown role", where=f"{where}.{role}", mend=nearest(role, present))
    found, secrets = [], set()
    for role in present:
        if role in ASKED and name != decided.config.on and role not in asked.roles:
            continue
        computed = COMPUTED[role](decided, name) if role in COMPUTED else {}
        variables, named = specs.variables(role, asked.roles.get(role, {}), computed, f"{where}.{role}")
        found.append(HostRole(name=role, variables=variables))
        secrets.update(named)
    return Host(
        name=name,
        address=asked.address,
        port=asked.port,
        login=asked.login,
        kind="machine" if asked.kernel == "own" else "container",
        roles=tuple(found),
        secrets=tuple(sorted(secrets)),
    )
