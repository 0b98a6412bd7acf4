"""What earlier versions left on this machine and nothing uses any more: found, measured, removed.

Kept is whatever this version, a stack of this site, a container of this machine or a running program uses, and of
each thing the newest generations before, for a way back. What is not ours is never looked at twice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TypeVar

import docker

from infra import preflight, releases
from infra.images import store
from infra.images.recipe import BASE
from infra.site import Site, cache
from infra.stack import Stack
from infra.toolchain.lock import held

Thing = TypeVar("Thing")

KEEP = 1
"""Generations of each thing that stay beside those in use."""


@dataclass(frozen=True)
class Item:
    """Something that may go.

    Args:
        what: kind and name, for people.
        size: bytes that it takes, as far as it shares them with nothing that stays.
        remove: does it; False where something has come to use it meanwhile.
    """

    what: str
    size: int
    remove: Callable[[], bool]


def find(site: Site, client: docker.DockerClient | None, keep: int = KEEP) -> list[Item]:
    """Everything that may go, the largest first.

    Args:
        client: of this machine's Docker; None where it does not run, then its images stay.
        keep: so many idle generations of each thing stay.

    Raises:
        MaiaError: a stack file of the site cannot be read, so that what it uses is not known.
    """
    from infra.prune import folders, images

    used = in_use(site, client)
    found = [*folders.stale(keep, used, releases.needed(site)), *(images.stale(client, keep, used) if client else ())]
    return sorted(found, key=lambda item: -item.size)


def in_use(site: Site, client: docker.DockerClient | None) -> set[str]:
    """Ids of the images that a stack of the site or any container names, whether it runs or not, or goes back to."""
    ids = {image for record in releases.records(site) for image in record.parts.values()}
    for name in stacks(site):
        ids |= {container.image_id for container in Stack(name, site, ahead=True).plan.containers}
    for checkpoint in (site.state / ".pulumi" / "stacks").rglob("*.json"):
        ids |= set(re.findall(r"sha256:[0-9a-f]{64}", checkpoint.read_text()))
    if client:
        ids |= {str(container["ImageID"]) for container in client.api.containers(all=True)}
    return ids - {""}


def docker_client() -> docker.DockerClient | None:
    """This machine's Docker, where it answers."""
    if preflight.docker_state() != "answers":  # asked first: the client leaves its socket open where nobody does
        return None
    return docker.from_env(timeout=60)


def stacks(site: Site) -> list[str]:
    """The names of the site's stacks."""
    return sorted(path.name.split(".")[1] for path in site.root.glob("stacks/Pulumi.*.yaml"))


def idle(
    things: Iterable[Thing],
    keep: int,
    *,
    used: Callable[[Thing], bool],
    kind: Callable[[Thing], Hashable],
    when: Callable[[Thing], float],
) -> Iterator[Thing]:
    """The things that nothing uses, without the newest ``keep`` of each kind."""
    kinds: dict[Hashable, list[Thing]] = {}
    for thing in things:
        if not used(thing):
            kinds.setdefault(kind(thing), []).append(thing)
    for each in kinds.values():
        yield from sorted(each, key=when, reverse=True)[keep:]


@contextmanager
def alone(say: Callable[[str], None]) -> Iterator[None]:
    """While nobody builds images or tools."""
    home = store.home()
    locks = [home / "locks" / BASE, *sorted((home / "locks").glob("*")), home / "wheels" / "lock"]
    locks += [*sorted((cache() / "tools").glob("*.lock")), cache() / "pulumi" / "lock", cache() / "go" / "lock"]
    with ExitStack() as stack:
        for path in dict.fromkeys(locks):
            stack.enter_context(held(path, "images or tools", say))
        yield
