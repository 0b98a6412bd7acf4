"""Builds images: each once per content, several at a time, and again after whatever stopped it."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra import releases
from infra.errors import MaiaError
from infra.images import debian, evidence, layer, sandbox, scratch, store, wheels
from infra.images.assemble import Job
from infra.images.recipe import BASE, BaseRecipe, Recipe, load_base
from infra.images.store import BUILDER, Image
from infra.site import REPO, Site
from infra.toolchain import build as toolchain
from infra.toolchain import golang
from infra.toolchain.lock import held

Say = Callable[[str], None]

KEPT = 8  # of each image, by age, beside what a stack of the site goes back to


def requirements() -> list[str]:
    """The Debian packages that building needs on this machine."""
    return ["apt", "debian-archive-keyring", "mmdebstrap", "mount", "tar", "util-linux"] + (
        ["uidmap"] if os.geteuid() else []
    )


@dataclass(frozen=True)
class _Order:
    """What the images of one run have in common."""

    base: Path
    mirror: debian.Mirror
    sources: tuple[str, ...]
    lists: Path
    vendor: Path | None
    packages: str
    fresh: bool


def build(
    names: Iterable[str],
    say: Say,
    *,
    workers: int = 2,
    vendor: Path | None = None,
    packages: str = "",
    fresh: bool = False,
) -> dict[str, Image]:
    """Builds what is missing of ``names``, ``workers`` at a time.

    Args:
        vendor: a folder made by `infra.images.vendor`, then the only source of packages.
        packages: since when, as `maia:packages` has it; what was built for another moment stays beside.
        fresh: build anew what is there already, from today's packages.
    """
    recipes = store.recipes(names)
    images = {} if fresh else {recipe.name: store.lookup(recipe.name, vendor, packages) for recipe in recipes}
    missing = [recipe for recipe in recipes if not images.get(recipe.name)]
    built = _build(missing, say, workers, vendor, packages, fresh) if missing else {}
    return {recipe.name: built.get(recipe.name) or _there(images[recipe.name]) for recipe in recipes}


def _there(image: Image | None) -> Image:
    assert image
    return image


def _build(
    recipes: Sequence[Recipe], say: Say, workers: int, vendor: Path | None, packages: str, fresh: bool
) -> dict[str, Image]:
    require()
    if vendor:
        debian.verify(vendor)
    recipe = load_base()
    mirror = debian.mirror(recipe.suite, vendor)
    home = store.place(BASE, store.base_key(recipe, vendor, packages))
    with _base(recipe, mirror, _prefixed(say, BASE), home, fresh) as base, workplace() as lists:
        sources = mirror.lines or tuple((base / "sources.list").read_text().splitlines())
        update(lists, sources, say)
        order = _Order(base, mirror, sources, lists / "lists", vendor, packages, fresh)
        # The longest first: the last one to start decides when all are done.
        weighty = sorted(recipes, key=lambda recipe: -len(recipe.packages) - 9 * bool(recipe.python or recipe.tools))
        with ThreadPoolExecutor(workers) as pool:
            waiting = {each.name: pool.submit(_image, each, order, _prefixed(say, each.name)) for each in weighty}
        return {name: image.result() for name, image in waiting.items()}


def workplace() -> AbstractContextManager[Path]:
    """A folder for as long as it is needed."""
    return scratch.folder(store.home() / "work", sandbox.remove)


def _prefixed(say: Say, name: str) -> Say:
    return lambda text: say(f"{name}: {text}")


def require() -> None:
    """Raises where this machine lacks what building needs."""
    needed = ("mmdebstrap", "apt-get", "unshare", "setpriv", "tar", "mount")
    missing = [name for name in needed if not shutil.which(name)]
    if not debian.KEYRING.exists():
        missing.append(str(debian.KEYRING))
    if missing:
        raise MaiaError(
            f"building needs {', '.join(missing)}",
            where="images",
            mend=f"apt-get install {' '.join(requirements())}",
        )


@contextmanager
def _base(recipe: BaseRecipe, mirror: debian.Mirror, say: Say, home: Path, fresh: bool) -> Iterator[Path]:
    """The folder of the base, which nobody replaces while images are put on it."""
    lock = store.home() / "locks" / BASE
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a") as gate:
        fcntl.flock(gate, fcntl.LOCK_SH)
        if fresh or not home.exists():
            fcntl.flock(gate, fcntl.LOCK_EX)
            if fresh or not home.exists():
                with workplace() as work:
                    _assemble(BASE, Job(work, _pool(), recipe.model_dump(), mirror=mirror.lines), say)
                    keep(work, home, ("layer.tar", "index.json", "found.json", "sources.list"))
            fcntl.flock(gate, fcntl.LOCK_SH)
        yield home


def _pool() -> Path:
    pool = store.home() / "pool"
    pool.mkdir(parents=True, exist_ok=True)
    return pool


def _assemble(name: str, job: Job, say: Say) -> None:
    file = job.folder / "job.json"
    job.write(file)
    try:
        sandbox.run(name, file, say)
    finally:
        log = store.home() / "logs" / f"{name}.log"
        log.parent.mkdir(exist_ok=True)
        shutil.copyfile(job.folder / "build.log", log)


def keep(work: Path, home: Path, names: Sequence[str]) -> None:
    """Moves the product into its place in one step."""
    product = work / "product"
    product.mkdir()
    for name in names:
        os.replace(work / name, product / name)
    if home.exists():
        os.replace(home, work / "former")
    os.replace(product, home)
    name, needed = home.name.rpartition("-")[0], releases.needed(Site.current())
    siblings = [path for path in home.parent.glob(f"{name}-*") if path.name.rpartition("-")[0] == name]
    for left in sorted(siblings, key=lambda path: -path.stat().st_mtime)[KEPT:]:
        if left not in needed:
            shutil.rmtree(left, ignore_errors=True)


def update(folder: Path, sources: Sequence[str], say: Say) -> None:
    """Fetches the package indexes that all images of this run are solved against."""
    say("packages: fetching the indexes")
    config = folder / "apt.conf"
    debian.write_config(config, folder, "\n".join(sources) + "\n", lists=folder / "lists")
    env = os.environ | {"APT_CONFIG": str(config), "LC_ALL": "C"}
    try:
        done = subprocess.run(["apt-get", "update"], env=env, capture_output=True, text=True, timeout=sandbox.SILENCE)
        said = "" if done.returncode == 0 else " ".join(re.findall(r"^E: (.*)", done.stderr, re.MULTILINE))
    except subprocess.TimeoutExpired:
        done, said = None, f"the mirror hangs: nothing for {sandbox.SILENCE:g} s"
    if done is None or done.returncode:
        raise MaiaError(
            f"package indexes cannot be fetched: {said[-400:]}",
            where="images",
            mend=f"check the network, or name mirrors in {debian.MIRROR} and {debian.SECURITY}",
        )


def _image(recipe: Recipe, order: _Order, say: Say) -> Image:
    key = store.image_key(recipe, order.vendor, order.packages)
    with held(store.home() / "locks" / recipe.name, recipe.name, say):
        if not order.fresh and (there := store.read(recipe.name, key)):
            return there
        programs = {store.tool(name): toolchain.ensure(store.tool(name), say, order.vendor) for name in recipe.tools}
        wheelhouse = wheels.fetch(recipe.python.lock, say, order.vendor) if recipe.python else None
        known = json.loads((order.base / "found.json").read_text())
        with workplace() as work:
            sums = {
                debian.deb_name(one["name"], one["version"], one["architecture"]): one["sha256"]
                for one in known["used"]
            }
            job = Job(
                work, _pool(), recipe.model_dump(), mirror=order.sources, base=order.base, lists=order.lists,
                tools=tuple(programs.values()), wheels=wheelhouse, sums=sums,
            )  # fmt: skip
            _assemble(recipe.name, job, say)
            if store.image_key(recipe, order.vendor, order.packages) != key:
                raise MaiaError("its files changed meanwhile", where=f"image {recipe.name}", mend="run it again")
            say("packing")
            found = json.loads((work / "found.json").read_text())
            layers = [(order.base / "layer.tar", known["digest"]), (work / "layer.tar", found["digest"])]
            tag = store.tag(recipe.name, key)
            identity = layer.archive(work / "image.tar", tag, recipe.config(), layers, debian.architecture())
            components = evidence.debian_components(one for one in found["used"] if one["left"])
            for tool, binary in programs.items():
                go = golang.find(golang.required(tool.module), say)
                components += evidence.go_components(go.command, binary, tool.version)
            if recipe.python and wheelhouse:
                pinned = set(re.findall(r"sha256:([0-9a-f]{64})", (REPO / recipe.python.lock).read_text()))
                components += evidence.wheel_components(wheelhouse, pinned)
            documents = {
                "sbom.cdx.json": evidence.sbom(recipe.name, identity, components),
                "provenance.json": evidence.provenance(
                    recipe.name, identity, key=key, base=known["digest"], builder=BUILDER,
                    mirror=order.mirror.kind, components=components,
                ),
                "record.json": {
                    "id": identity,
                    "key": key,
                    "size": sum(path.stat().st_size for path, _ in layers),
                    "packages": components,
                    "used": found["used"],
                    "created": layer.CREATED,
                },
            }  # fmt: skip
            for name, document in documents.items():
                (work / name).write_text(json.dumps(document, indent=1) + "\n")
            keep(work, store.place(recipe.name, key), ("image.tar", *documents))
    built = store.read(recipe.name, key)
    assert built
    return built
