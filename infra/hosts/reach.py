"""How a server of a stack is reached: with the site's key, and known by the key that was pinned on first contact."""

from __future__ import annotations

from infra.host import AUTOMATION
from infra.plan import Host
from infra.site import Site
from infra.ssh import Server


def server(site: Site, stack: str, host: Host, user: str = AUTOMATION) -> Server:
    """The server as ``user``; by default the one that is there once it was taken over."""
    return Server(
        name=host.name,
        address=host.address,
        port=host.port,
        user=user,
        key=site.key,
        known=site.known(stack, host.name),
    )
