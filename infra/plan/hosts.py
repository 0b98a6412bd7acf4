"""The servers of a stack, and what each of them gets."""

from __future__ import annotations

from infra.config import PREFIX, Config, nearest
from infra.errors import MaiaError
from infra.plan.model import Host, HostRole

ORDER = ("docker",)
"""The roles of every server, in the order in which they are carried out."""


def hosts(config: Config) -> tuple[Host, ...]:
    """Every server of the stack file, with its roles.

    Raises:
        MaiaError: the parts are to run on a server that the stack file does not name.
    """
    if config.on and config.on not in config.hosts:
        raise MaiaError(f"no server {config.on!r}", where=f"{PREFIX}on", mend=nearest(config.on, config.hosts))
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
