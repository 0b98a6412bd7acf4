"""The cache folder: environments, tools, built images and what they were made of."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import sys
import tempfile
from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path

from infra.images import debian, sandbox, scratch, store
from infra.images.layer import sha256
from infra.images.recipe import BASE, load_all, load_base
from infra.prune import Item, idle
from infra.site import REPO, cache
from infra.toolchain import build as toolchain
from infra.toolchain import golang, pulumi, tools

KEY = re.compile(r"(.*?)-?[0-9a-f]{12}")
LOCKS = ("requirements.lock", "requirements-dev.lock")


def stale(keep: int, used: Collection[str], needed: Collection[Path] = ()) -> Iterator[Item]:
    """What may go of the cache.

    Args:
        used: ids of images that something uses.
        needed: folders that something goes back to.
    """
    alive, kept = _alive(), current() | {*needed}

    def in_use(folder: Path) -> bool:
        return folder in kept or _image(folder) in used or _making(folder) or _any_below(folder, alive)

    found = [*_generations()]
    gone = list(idle(found, keep, used=in_use, kind=_kind, when=lambda folder: folder.stat().st_mtime))
    gone += [*_fragments(found), *scratch.dead(store.home() / "work")]
    gone += _unreferenced({folder for folder in found if folder not in gone})
    gone += _bytecode(cache() / "pycache", set(gone))
    for path in gone:
        yield Item(str(path.relative_to(cache())), _size(path), partial(_remove, path))


def _generations() -> Iterator[Path]:
    """Every folder of which there is one a version."""
    home = store.home()
    for parent in (cache(), cache() / "tools", cache() / "pulumi", home, home / "wheels"):
        yield from (path for path in parent.glob("*") if path.is_dir() and KEY.fullmatch(path.name))
    yield from (path for path in (cache() / "go").glob("*") if path.is_dir() and path.name[0].isdigit())


def _kind(folder: Path) -> tuple[Path, str, str]:
    """Folders of one kind are generations of the same thing."""
    name = KEY.fullmatch(folder.name)
    ready = folder / ".ready"
    locks = ready.read_text().partition("\n")[0] if name and name[1] == "venv" and ready.exists() else ""
    return folder.parent, name[1] if name else "", locks


def current(packages: str = "") -> set[Path]:
    """What this version uses, with packages of that moment, whether it is there or not."""
    found = {Path(sys.prefix), *_environments(), cache() / "go" / golang.pinned()}
    found |= {home for tool in tools.ALL if (home := toolchain.place(tool))}
    if root := pulumi.place():
        found.add(root)
    home = store.home()
    for vendor in {None, store.vendored()}:
        if vendor and not (vendor / debian.SUMS).is_file():
            continue
        found.add(store.place(BASE, store.base_key(load_base(), vendor, packages)))
        found |= {store.place(name, store.image_key(each, vendor, packages)) for name, each in load_all().items()}
    locks = {each.python.lock for each in load_all().values() if each.python}
    return found | {home / "wheels" / sha256(REPO / lock)[:12] for lock in locks}


def _environments() -> Iterator[Path]:
    """The Python environments that the launcher makes of this checkout, without and with what tests need."""
    ready = Path(sys.prefix) / ".ready"
    said = ready.read_text().partition("\n")[2] if ready.exists() else ""
    for count in range(1, len(LOCKS) + 1):
        text = said.encode() + b"".join((REPO / lock).read_bytes() for lock in LOCKS[:count])
        yield cache() / f"venv-{hashlib.sha256(text).hexdigest()[:12]}"


def _image(folder: Path) -> str:
    """The id of the image that the folder holds, if it holds one."""
    try:
        return str(json.loads((folder / "record.json").read_text())["id"])
    except (OSError, ValueError, KeyError):
        return ""


def _making(folder: Path) -> bool:
    """Whether the launcher is just making this environment."""
    lock = folder.with_name(f"{folder.name}.lock")
    if not lock.exists():
        return False
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _alive() -> set[str]:
    """Every file that a running program was started from or with."""
    found: set[str] = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            found.add(str((process / "exe").readlink()))
            found |= set((process / "cmdline").read_bytes().decode(errors="replace").split("\0"))
        except OSError:  # it ended, or is the kernel's
            continue
    return found


def _any_below(folder: Path, files: Collection[str]) -> bool:
    return any(file.startswith(f"{folder}/") for file in files)


def _fragments(whole: Collection[Path]) -> Iterator[Path]:
    """What a removal that was killed had taken out of its place."""
    yield from (path for path in _trash().glob("*") if path not in whole)


def _unreferenced(kept: Collection[Path]) -> Iterator[Path]:
    """Packages that no image or base which stays was made of."""
    named = set()
    for folder in kept:
        for record in ("record.json", "found.json"):
            if (folder / record).exists():
                used = json.loads((folder / record).read_text())["used"]
                named |= {f"{one['sha256']}-{debian.deb_name(one['name'], one['version'], one['architecture'])}"
                          for one in used}  # fmt: skip
    yield from (path for path in (store.home() / "pool").glob("*.deb") if path.name not in named)


def _bytecode(folder: Path, gone: Collection[Path]) -> Iterator[Path]:
    """Bytecode of modules that are not there any more: its folders mirror theirs."""
    root = cache() / "pycache"
    for below in (path for path in folder.glob("*") if path.is_dir()):
        source = "/" / below.relative_to(root)
        if source in gone or not source.is_dir():
            yield below
        else:
            yield from _bytecode(below, gone)


def _size(path: Path) -> int:
    files = [path] if path.is_file() else [below for below in path.rglob("*") if below.is_file()]
    return sum(file.lstat().st_size for file in files)


def _trash() -> Path:
    return cache() / "trash"


def _remove(path: Path) -> bool:
    """Out of its place in one step, so that nobody ever finds a half of it."""
    _trash().mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(dir=_trash())) / path.name
    try:
        os.replace(path, aside)
    except FileNotFoundError:
        return False
    finally:
        sandbox.remove(aside.parent)
    return True
