"""The servers of a stack, and what each of them gets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from infra import host, specs
from infra.config import PREFIX, Config, nearest
from infra.errors import MaiaError
from infra.plan.model import Host, HostRole

ORDER = (
    "base", "users", "ssh", "firewall", "hardening", "audit", "updates", "disks", "docker", "gpu", "metrics",
)  # fmt: skip
"""The roles of every server, in the order in which they are carried out."""
ASKED = frozenset({"docker"})
"""Roles of those servers only that the parts run on, or whose stack file names the role."""
COMPUTED: Mapping[str, Callable[[Config, str], dict[str, Any]]] = {}
"""Role to what the plan itself tells it, of the stack file and the server's name."""


def roles() -> tuple[str, ...]:
    """Those there are, in their order."""
    return tuple(role for role in ORDER if specs.there(role))


def servers(config: Config) -> tuple[Host, ...]:
    """Every server of the stack file, with its roles.

    Raises:
        MaiaError: the parts are to run on a server that the stack file does not name, or a role is told what it does
            not know.
    """
    if config.on and config.on not in config.hosts:
        raise MaiaError(f"no server {config.on!r}", where=f"{PREFIX}on", mend=nearest(config.on, config.hosts))
    return tuple(_host(config, name, asked) for name, asked in sorted(config.hosts.items()))


def _host(config: Config, name: str, asked: host.Host) -> Host:
    where = f"{PREFIX}hosts.{name}.roles"
    present = roles()
    for role in asked.roles:
        if role not in present:
            raise MaiaError("unknown role", where=f"{where}.{role}", mend=nearest(role, present))
    found, secrets = [], set()
    for role in present:
        if role in ASKED and name != config.on and role not in asked.roles:
            continue
        computed = COMPUTED[role](config, name) if role in COMPUTED else {}
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
