"""What a killed run created and could not write down: removed, so that the engine can create it properly."""

from __future__ import annotations

from collections.abc import Callable, Collection

from infra import health
from infra.plan import Plan


def remove(plan: Plan, known: Collection[str], say: Callable[[str], None]) -> None:
    """Remove the plan's containers and networks that the state does not know; volumes are kept and taken up again.

    Args:
        known: Docker's ids of everything in the state.
    """
    client = health.client()
    containers = {container.name for container in plan.containers}
    for container in client.containers.list(all=True, ignore_removed=True):
        if container.name in containers and container.id not in known:
            say(f"removing {container.name}, which a killed run left")
            container.remove(force=True)
    networks = {network.name for network in plan.networks}
    for network in client.networks.list():
        if network.name in networks and network.id not in known:
            say(f"removing the network {network.name}, which a killed run left")
            network.remove()


def remove_all(stack: str, say: Callable[[str], None]) -> None:
    """Remove every container, network and volume of the stack, its data with them."""
    client = health.client()
    prefix = f"maia-{stack}-"
    mine: dict[str, str | list[str] | bool] = {"label": f"maia.stack={stack}"}
    for container in client.containers.list(all=True, filters=mine, ignore_removed=True):
        say(f"removing {container.name}")
        container.remove(force=True, v=True)
    for network in client.networks.list(filters=mine):
        say(f"removing the network {network.name}")
        network.remove()
    for volume in client.volumes.list(filters=mine):
        if volume.name.startswith(prefix):
            say(f"removing the volume {volume.name}")
            volume.remove(force=True)
