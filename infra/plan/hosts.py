"""The servers of a stack, and what each of them gets."""

from __future__ import annotations

from infra.config import Config
from infra.plan.model import Host, HostRole

ORDER = ("docker",)
"""The roles of every server, in the order in which they are carried out."""


def hosts(config: Config) -> tuple[Host, ...]:
    """Every server of the stack file, with its roles."""
    return tuple(
        Host(
            name=name,
            address=asked.address,
            port=asked.port,
            login=asked.login,
            kind="machine" if asked.kernel == "own" else "container",
            roles=tuple(HostRole(name=role, variables=asked.roles.get(role, {})) for role in ORDER),
        )
        for name, asked in sorted(config.hosts.items())
    )
