"""What runs, and what ran before it: a record a stack, beside the program that made it, so that it can be run again.

Light to import: the launcher's every verb that changes a stack looks here whether it is the right program to do so.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache as remember
from pathlib import Path
from typing import Any

from infra import atomic
from infra.errors import MaiaError
from infra.site import REPO, Site, cache

LOCK = "MAIA_LOCK"
"""Names the descriptor of a stack's lock, where the verb that started this one holds it."""
CURRENT, PREVIOUS = "current", "previous"
INDIFFERENT = frozenset({"upgrade", "rollback", "restart", "destroy", "prune", "maintain"})
"""Verbs that may work on a stack of another release, or of one that is just being changed."""


@remember
def _project() -> Mapping[str, Any]:
    return tomllib.loads((REPO / "pyproject.toml").read_text())


def version() -> str:
    """The release this is."""
    return str(_project()["project"]["version"])


def upgrades_from() -> list[str]:
    """The releases that this one is an upgrade of, the oldest first."""
    return list(_project()["tool"]["maia"]["upgrades-from"])


def numbers(release: str) -> list[int]:
    """A release as one compares it."""
    return [int(part) for part in release.split(".") if part.isdigit()]


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image that was made here, and what it is made of."""

    id: str
    folder: str
    """Of the cache."""
    packages: dict[str, str]
    """Name to version, of everything that is in it."""
    sources: dict[str, str]
    """The same of Debian's source packages, by which vulnerabilities are known."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """A release as it ran on a stack, and all that it takes to run it again."""

    release: str
    tree: str
    """Hash of the program."""
    when: str
    """ISO 8601 UTC."""
    settings: dict[str, Any]
    """The ``maia:`` keys of the stack file."""
    images: dict[str, Image]
    parts: dict[str, str]
    """Image id by part, the owner's own images among them."""
    cache: list[str]
    """What the program uses of the cache folder."""
    point: str = ""
    """The recovery point that was made just before it was left."""

    @property
    def packages(self) -> str:
        """Since when its packages are, as `maia:packages` has it."""
        return str(self.settings.get("packages", ""))

    @classmethod
    def parse(cls, text: str) -> Record:
        found = json.loads(text)
        images = {name: Image(**image) for name, image in found.pop("images").items()}
        return cls(**found, images=images)


@dataclass(frozen=True, kw_only=True)
class Move:
    """A way from one record to another that was begun and is not at its end."""

    source: str
    target: str
    """Releases, for people."""
    packages: str
    """What `maia:packages` becomes."""
    point: str
    left: str
    """When the record was written that is left behind."""
    back: str = ""
    """The record that it goes back to; empty while it goes forward."""


def home(site: Site, stack: str) -> Path:
    return site.root / "releases" / stack


def folder(site: Site, stack: str, record: Record) -> Path:
    """The folder of the program that made it."""
    return home(site, stack) / f"{record.release}-{record.tree}"


def read(site: Site, stack: str, name: str = CURRENT) -> Record | None:
    """What runs, or ran before the last upgrade, as far as it is known.

    Raises:
        MaiaError: the file is damaged.
    """
    path = home(site, stack) / f"{name}.json"
    try:
        return Record.parse(path.read_text())
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, AttributeError):
        mend = "remove it, then maia up with the release that runs"
        raise MaiaError("the record of a release is damaged", where=str(path), mend=mend) from None


def write(site: Site, stack: str, name: str, record: Record) -> None:
    _replace(home(site, stack) / f"{name}.json", json.dumps(asdict(record), indent=1))


def forget(site: Site, stack: str, name: str) -> None:
    (home(site, stack) / f"{name}.json").unlink(missing_ok=True)


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    atomic.write(path, text)


def records(site: Site) -> list[Record]:
    """Every record of the site."""
    known = [(path.parent.name, path.stem) for path in (site.root / "releases").glob("*/*.json")]
    found = (read(site, stack, name) for stack, name in known if name in (CURRENT, PREVIOUS))
    return [record for record in found if record]


def needed(site: Site) -> set[Path]:
    """The folders of the cache without which a stack of the site could not be what it is, or was before."""
    return {cache() / name for record in records(site) for name in record.cache}


def missing(record: Record) -> list[str]:
    """Its images that the cache has no more."""
    return sorted(name for name, image in record.images.items() if _held(cache() / image.folder) != image.id)


def _held(place: Path) -> str:
    try:
        return str(json.loads((place / "record.json").read_text())["id"])
    except (OSError, ValueError, KeyError):
        return ""


# -- on the way -------------------------------------------------------------------------------------------------------


def _mark(site: Site, stack: str) -> Path:
    return home(site, stack) / "moving"


def moving(site: Site, stack: str) -> Move | None:
    """The way that the stack is on, or was when a verb was killed."""
    path = _mark(site, stack)
    return Move(**json.loads(path.read_text())) if path.exists() else None


def depart(site: Site, stack: str, move: Move) -> None:
    """From here on the stack is neither the one nor the other."""
    _replace(_mark(site, stack), json.dumps(asdict(move)))


def arrive(site: Site, stack: str) -> None:
    _mark(site, stack).unlink(missing_ok=True)


def refuse_other(site: Site, stack: str, verb: str) -> None:
    """Keep a program from what another release runs, and any from a stack that is between two of them.

    Raises:
        MaiaError: it is so; says which verb is meant for it.
    """
    if verb in INDIFFERENT:
        return
    if move := moving(site, stack):
        raise MaiaError(cut_short(move), where=f"stack {stack}", mend=ways_on(move, stack))
    runs = read(site, stack)
    if runs and runs.release != version():
        raise MaiaError(
            f"release {runs.release} runs, this is {version()}",
            where=f"stack {stack}",
            mend=f"maia upgrade --stack {stack}, or {folder(site, stack, runs)}/maia; nothing was changed",
        )


def origin(site: Site, stack: str, move: Move) -> str:
    """The record that a way leads back to: what it left is the current one until the very end."""
    current = read(site, stack)
    return move.back or (CURRENT if current and current.when == move.left else PREVIOUS)


def cut_short(move: Move) -> str:
    what = "the way back" if move.back else "an upgrade"
    return f"{what} from {move.source} to {move.target} was cut short"


def ways_on(move: Move, stack: str) -> str:
    undo = f"maia rollback --stack {stack}"
    return f"{undo} ends it" if move.back else f"maia upgrade --stack {stack} finishes it, {undo} undoes it"
