"""Whether the mirror has other packages by now than images were made of."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Collection
from pathlib import Path

from infra.images import build, debian, store
from infra.images.recipe import BASE, load_base


def newer(images: Collection[Path], packages: str, say: Callable[[str], None]) -> set[str]:
    """The names of the packages that would have another version if the images in these folders were built now.

    Args:
        packages: the moment that they were built for.
    """
    vendor, recipe = store.vendored(), load_base()
    base = store.place(BASE, store.base_key(recipe, vendor, packages))
    if not base.exists():  # it is built anew in any case
        return {BASE}
    lines = debian.mirror(recipe.suite, vendor).lines or tuple((base / "sources.list").read_text().splitlines())
    used = {(one["name"], one["version"]) for folder in images for one in _used(folder)}
    with build.workplace() as folder:
        build.update(folder, lines, say)
        known = subprocess.run(
            ["apt-cache", "policy", *sorted({name for name, _ in used})],
            env=os.environ | {"APT_CONFIG": str(folder / "apt.conf"), "LC_ALL": "C"},
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
    candidates = dict(re.findall(r"^(\S+):\n  Installed: .*\n  Candidate: (\S+)$", known, re.MULTILINE))
    return {name for name, version in used if candidates.get(name) != version}


def _used(folder: Path) -> list[dict[str, str]]:
    return list(json.loads((folder / "record.json").read_text())["used"])
