"""Images in Docker: those made here, and those of the owner's apps that were loaded here."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import docker
from docker.errors import APIError, ImageNotFound
from docker.models.images import Image

from infra import owner
from infra.images import store
from infra.images.recipe import load_all
from infra.prune import Item, idle

TAG = re.compile(r"maia/([a-z0-9-]+):[0-9a-f]{12}")
TITLE = "org.opencontainers.image.title"


@dataclass(frozen=True)
class Held:
    """An image that Docker has because of us.

    Args:
        tags: those that we gave it; others are the owner's and stay.
        when: it came, in seconds since 1970.
    """

    id: str
    name: str
    tags: tuple[str, ...]
    when: float
    layers: tuple[str, ...]
    sizes: tuple[int, ...]

    def beyond(self, shared: Collection[str]) -> int:
        """Bytes of the layers that are not ``shared``, where it is known which are how large."""
        if len(self.layers) != len(self.sizes):
            return sum(self.sizes)
        return sum(size for layer, size in zip(self.layers, self.sizes, strict=True) if layer not in shared)


def stale(client: docker.DockerClient, keep: int, used: Collection[str]) -> Iterator[Item]:
    """What may go of Docker's images.

    Args:
        used: ids of images that something uses.
    """
    current = _current()
    there = list(_there(client))
    found = [*_made(there), *_loaded(there)]
    gone = list(
        idle(
            found,
            keep,
            used=lambda image: image.id in used or not current.isdisjoint(image.tags),
            kind=lambda image: image.name,
            when=lambda image: image.when,
        )
    )
    ids = {image.id for image in gone}
    shared = {layer for image in there if image.id not in ids for layer in image.attrs["RootFS"]["Layers"]}
    for image in gone:
        what = f"{image.name} {image.id.removeprefix('sha256:')[:12]} in Docker"
        yield Item(what, image.beyond(shared), partial(_remove, client, image))
        shared |= set(image.layers)


def _current() -> set[str]:
    """The tags of what this version builds."""
    vendors = {None, store.vendored()}
    return {
        store.tag(name, store.image_key(recipe, vendor))
        for name, recipe in load_all().items()
        for vendor in vendors
        if vendor is None or vendor.is_dir()
    }


def _there(client: docker.DockerClient) -> Iterator[Image]:
    """Every image that has a name or is nobody's part."""
    for summary in client.api.images():
        try:
            yield client.images.get(summary["Id"])
        except ImageNotFound:  # removed meanwhile
            continue


def _made(there: Iterable[Image]) -> Iterator[Held]:
    """Images that say they were made here, under a tag of ours or under none any more."""
    for image in there:
        title = (image.attrs["Config"].get("Labels") or {}).get(TITLE, "")
        tags = tuple(tag for tag in image.tags if (ours := TAG.fullmatch(tag)) and title == f"maia/{ours[1]}")
        if tags or (title.startswith("maia/") and not image.tags and not image.attrs.get("RepoDigests")):
            yield _held(image, title, tags, _tagged(image))


def _loaded(there: Iterable[Image]) -> Iterator[Held]:
    records = {record.id: record for record in owner.loaded()}
    for image in there:
        if record := records.get(image.id or ""):
            yield _held(image, record.where, record.tags, record.when)


def _held(image: Image, name: str, tags: tuple[str, ...], when: float) -> Held:
    history = reversed(image.history())
    return Held(
        id=image.id or "",
        name=name,
        tags=tags,
        when=when,
        layers=tuple(image.attrs["RootFS"]["Layers"]),
        sizes=tuple(entry["Size"] for entry in history if entry["Size"]),
    )


def _tagged(image: Image) -> float:
    """When `store.load` brought it; Docker says the year 1 where it does not know."""
    said = datetime.fromisoformat(image.attrs.get("Metadata", {}).get("LastTagTime") or "0001-01-01T00:00:00Z")
    return said.timestamp() if said.year > 1 else 0.0


def _remove(client: docker.DockerClient, image: Held) -> bool:
    """Takes our tags away, and the image with them unless it has a name of the owner's or a container."""
    try:
        there = client.images.get(image.id)
        ours = [tag for tag in there.tags if tag in image.tags]
        for tag in ours:
            client.images.remove(tag, noprune=True)
        if not ours and not there.tags:
            client.images.remove(image.id, noprune=True)
    except ImageNotFound:
        pass
    except APIError as error:
        if error.status_code != 409:
            raise
        return False
    owner.forget(image.id)
    return True
