"""What a killed run created and could not write down: removed, so that the engine can create it properly."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from infra import health
from infra.components import exchange as exchanges
from infra.errors import MaiaError
from infra.stack import Stack


def remove_unknown(stack: Stack, known: Collection[str], say: Callable[[str], None]) -> None:
    """Remove the stack's containers and networks that the state does not know; volumes are kept and taken up again.

    Args:
        known: Docker's ids of everything in the state.
    """
    client, mine = health.client(stack.place), _mine(stack.name)
    for container in client.containers.list(all=True, filters=mine, ignore_removed=True):
        if container.id not in known:
            say(f"removing {container.name}, which a killed run left")
            container.remove(force=True)
    for network in client.networks.list(filters=mine):
        if network.id not in known:
            say(f"removing the network {network.name}, which a killed run left")
            network.remove()


def end_exchanges(stack: Stack, say: Callable[[str], None], *, well: bool) -> None:
    """Remove the candidates that an ended run left.

    Args:
        well: only where the app itself is well; else one that stands in for it stays.
    """
    client, plan = health.client(stack.place), stack.plan
    for container in plan.containers:
        exchange = exchanges.of(plan, container, stack.place)
        if not exchange or health.find(client, exchange.candidate) is None:
            continue
        if not well or not health.ill(container, client):
            say(f"removing {exchange.candidate}")
            exchange.remove()


def refuse_foreign(stack: Stack) -> None:
    """Keep off the stack of that name that another site folder has made: called where this one has no state of it.

    Raises:
        MaiaError: something of it is there.
    """
    client, mine = health.client(stack.place), _mine(stack.name)
    found: list[Any] = [*client.containers.list(all=True, filters=mine, ignore_removed=True)]
    if found := found or client.volumes.list(filters=mine) or client.networks.list(filters=mine):
        raise MaiaError(
            f"{found[0].name} is there already, and this site folder knows nothing of it",
            where=f"stack {stack.name}",
            mend=f"name its site folder in MAIA_SITE, or remove what Docker has with the label maia.stack={stack.name}",
        )


def remove_all(stack: Stack, say: Callable[[str], None]) -> None:
    """Remove every container, network and volume of the stack, its data with them."""
    client, mine = health.client(stack.place), _mine(stack.name)
    for container in client.containers.list(all=True, filters=mine, ignore_removed=True):
        say(f"removing {container.name}")
        container.remove(force=True, v=True)
    for network in client.networks.list(filters=mine):
        say(f"removing the network {network.name}")
        network.remove()
    for volume in client.volumes.list(filters=mine):
        say(f"removing the volume {volume.name}")
        volume.remove(force=True)


def _mine(stack: str) -> dict[str, str | list[str] | bool]:
    return {"label": f"maia.stack={stack}"}
