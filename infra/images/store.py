"""Built images: their keys, where they are kept, and how Docker gets them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.errors import MaiaError
from infra.images import debian, layer
from infra.images.recipe import BASE, BaseRecipe, Recipe, load_all, load_base
from infra.site import REPO, cache
from infra.toolchain import tools
from infra.toolchain.build import Tool

if TYPE_CHECKING:
    import docker

# Raise it when the builder makes another image of the same recipe.
BUILDER = 2


@dataclass(frozen=True)
class Image:
    """A built image.

    Args:
        key: what its content depends on, as a hash.
        folder: holds ``image.tar``, ``sbom.cdx.json``, ``provenance.json`` and ``record.json``.
        id: ``sha256:…``, as Docker names it.
        size: of its layers, in bytes.
        packages: how many Debian packages and Python distributions it has.
    """

    name: str
    key: str
    folder: Path
    id: str
    size: int
    packages: int

    @property
    def tag(self) -> str:
        """The reference that `load` gives it."""
        return tag(self.name, self.key)

    @property
    def archive(self) -> Path:
        """For ``docker load``."""
        return self.folder / "image.tar"

    @property
    def built(self) -> float:
        """When, in seconds since 1970."""
        return self.archive.stat().st_mtime


@dataclass(frozen=True)
class Line:
    """One line of the inventory; ``image`` is absent where nothing was built of the recipe as it stands."""

    name: str
    description: str
    image: Image | None


def home() -> Path:
    """Where images are kept."""
    return cache() / "images"


def tag(name: str, key: str) -> str:
    """The reference of an image by the content of its recipe."""
    return f"maia/{name}:{key[:12]}"


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def base_key(recipe: BaseRecipe, vendor: Path | None = None, packages: str = "") -> str:
    """What the base's content depends on."""
    moment = [packages] if packages else []
    return _digest(
        BUILDER, layer.EPOCH, debian.architecture(), recipe.model_dump(), debian.fingerprint(vendor), *moment
    )


def image_key(recipe: Recipe, vendor: Path | None = None, packages: str = "") -> str:
    """What an image's content depends on; of the packages a mirror has, no more than when they were asked for anew."""
    sources = [(path.relative_to(REPO), layer.sha256(path)) for path in recipe.sources]
    programs = [_tool_key(tool(name)) for name in recipe.tools]
    return _digest(recipe.model_dump(), base_key(load_base(), vendor, packages), sources, programs)


def _tool_key(tool: Tool) -> str:
    sums = [(path.name, layer.sha256(path)) for path in sorted(tool.module.glob("*")) if path.is_file()]
    return _digest(tool.name, tool.version, tool.package, tool.flags, sums)


def tool(name: str) -> Tool:
    """The Go program that a recipe names."""
    known = {tool.name: tool for tool in tools.ALL}
    if name not in known:
        raise MaiaError(f"no such tool: {name}", where="tools of an image", mend=f"take one of {', '.join(known)}")
    return known[name]


def vendored() -> Path | None:
    """The folder of vendored packages that ``MAIA_VENDOR`` names: then nothing comes from anywhere else."""
    value = os.environ.get("MAIA_VENDOR")
    return Path(value) if value else None


def names() -> set[str]:
    """The images that are made here."""
    return set(load_all())


def recipes(names: Iterable[str]) -> list[Recipe]:
    """The recipes of ``names``, each once."""
    known = load_all()
    wanted = list(dict.fromkeys(names))
    for name in wanted:
        if name not in known:
            raise MaiaError(f"no such image: {name}", where="images", mend=f"take one of {', '.join(known)}")
    return [known[name] for name in wanted]


def place(name: str, key: str) -> Path:
    """The folder of the image of this key."""
    return home() / f"{name}-{key[:12]}"


def read(name: str, key: str) -> Image | None:
    """The image of this key, if it was built."""
    folder = place(name, key)
    try:
        record = json.loads((folder / "record.json").read_text())
        return Image(name, key, folder, record["id"], record["size"], len(record["packages"]))
    except (FileNotFoundError, ValueError, KeyError):
        return None


def lookup(name: str, vendor: Path | None = None, packages: str = "") -> Image | None:
    """The image as its recipe stands now, if it was built."""
    (recipe,) = recipes([name])
    return read(name, image_key(recipe, vendor, packages))


def inventory(vendor: Path | None = None, packages: str = "") -> list[Line]:
    """Every recipe and what was built of it."""
    keys = [(recipe, image_key(recipe, vendor, packages)) for recipe in load_all().values()]
    return [Line(recipe.name, recipe.description, read(recipe.name, key)) for recipe, key in keys]


def packages(image: Image) -> dict[str, str]:
    """Name to version of everything installed in it."""
    return {component["name"]: component["version"] for component in _record(image)["packages"]}


def sources(image: Image) -> dict[str, str]:
    """The same of the source packages that its Debian packages are of."""
    left = [one for one in _record(image)["used"] if one["left"]]
    return {one.get("source") or one["name"]: one.get("source_version") or one["version"] for one in left}


def _record(image: Image) -> dict[str, Any]:
    return dict(json.loads((image.folder / "record.json").read_text()))


def drop(packages: str) -> None:
    """Remove the images that were built with the packages of a moment and came into no use."""
    vendor = vendored()
    keys = {BASE: base_key(load_base(), vendor, packages)}
    keys |= {name: image_key(recipe, vendor, packages) for name, recipe in load_all().items()}
    for name, key in keys.items():
        shutil.rmtree(place(name, key), ignore_errors=True)


def load(client: docker.DockerClient, image: Image) -> int:
    """Has ``image`` in Docker under its id and its tag.

    Returns:
        How many bytes it took: of the layers, only those go there that Docker lacks.
    """
    from docker.errors import APIError, ImageNotFound

    sent = 0
    try:
        there = client.images.get(image.id)
        if image.tag in there.tags:
            return 0
    except ImageNotFound:
        try:
            sent, needed = layer.without(image.archive, _stacks(client))
            there = client.images.load(needed)[0]  # type: ignore[arg-type]  # it takes what requests takes
        except (OSError, APIError) as fault:
            what = f"Docker does not load it: {fault}"
            raise MaiaError(what, where=str(image.archive), mend="run it again") from None
    there.tag(*image.tag.split(":"))  # also where it has it from its archive: only so does Docker note when it came
    return sent


def _stacks(client: docker.DockerClient) -> set[tuple[str, ...]]:
    """The layers of each image that Docker has, the lowest first."""
    ids = {str(image["Id"]) for image in client.api.images(all=True)}
    return {tuple(client.images.get(each).attrs["RootFS"].get("Layers") or ()) for each in ids}
