"""A folder with everything that images are made of, from which they can be built without a mirror."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from infra.errors import MaiaError
from infra.images import debian, store, wheels
from infra.images.build import build
from infra.images.layer import sha256
from infra.images.recipe import BASE, load_all, load_base
from infra.toolchain import build as toolchain

Say = Callable[[str], None]


def vendor(folder: Path, say: Say, names: Iterable[str] | None = None) -> None:
    """Puts the exact packages, wheels and Go modules that images were built of into ``folder``; builds what is not.

    Args:
        folder: empty, or made by this function; the images built from it are the same ones.
        names: of images; all by default.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / debian.SUMS).is_file():
        raise MaiaError("is not empty", where=str(folder), mend="name an empty folder or one made by this command")
    recipes = store.recipes(names or load_all())
    images = build([recipe.name for recipe in recipes], say)
    if not all(path.exists() for path in _packages(images.values())):
        images = build(images, say, fresh=True)  # the pool was emptied, and a mirror forgets old versions
    files = {path.name.partition("-")[2]: path for path in _packages(images.values())}
    for lock in {recipe.python.lock for recipe in recipes if recipe.python}:
        files |= {path.name: path for path in wheels.fetch(lock, say).glob("*.whl")}
    say(f"copying {len(files)} files")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / debian.SUMS).unlink(missing_ok=True)  # a folder without it is refused, so it goes first and comes last
    for stale in folder.iterdir():
        if stale.is_dir():
            shutil.rmtree(stale)
        elif stale.name not in files:
            stale.unlink()
    for name, path in files.items():
        shutil.copyfile(path, folder / name)
    for tool in sorted({name for recipe in recipes for name in recipe.tools}):
        toolchain.gather(store.tool(tool), folder, say)
    say("writing the index")
    debian.write_index(folder, load_base().suite)
    listed = sorted(path for path in folder.rglob("*") if path.is_file())
    (folder / "sums").write_text("".join(f"{sha256(path)}  {path.relative_to(folder)}\n" for path in listed))
    os.replace(folder / "sums", folder / debian.SUMS)


def _packages(images: Iterable[store.Image]) -> list[Path]:
    """Where the pool keeps the packages that the base and the images were made of."""
    pool = store.home() / "pool"
    base = store.home() / f"{BASE}-{store.base_key(load_base())[:12]}"
    records = [json.loads((base / "found.json").read_text())]
    records += [json.loads((image.folder / "record.json").read_text()) for image in images]
    used = [one for record in records for one in record["used"]]
    names = {f"{one['sha256']}-{debian.deb_name(one['name'], one['version'], one['architecture'])}" for one in used}
    return [pool / name for name in sorted(names)]
