"""Where a database stands: what was applied to it, what this release would apply, and why it would not."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg

from app.schema import files

Applied = Mapping[str, Mapping[str, str]]
"""Version to the SHA-256 of each of its files."""


@dataclass(frozen=True)
class Standing:
    version: str | None
    """The last version that was applied; none: it is empty."""
    pending: tuple[str, ...] = ()
    """What this release would apply."""
    faults: tuple[str, ...] = ()
    """Why it would not."""
    ahead: tuple[str, ...] = ()
    """What a newer release applied on top of all that this one has: it is left as it is."""


def look(link: psycopg.Connection[Any]) -> Standing:
    """Compare what was applied with what this release has; changes nothing."""
    known, found = files.versions(), applied(link)
    pending = tuple(version for version in known if version not in found)
    return Standing(
        version=max(found, default=None),
        pending=pending,
        faults=tuple(_faults(known, found)),
        ahead=() if pending else tuple(version for version in sorted(found) if version > known[-1]),
    )


def applied(link: psycopg.Connection[Any]) -> Applied:
    """As the database has it written down."""
    found: dict[str, dict[str, str]] = {}
    there = link.execute("select to_regclass('maia_meta.applied_files')").fetchone()
    if there and there[0]:
        for version, file, sha256 in link.execute("select version, file, sha256 from maia_meta.applied_files"):
            found.setdefault(version, {})[file] = sha256
    return found


def present() -> Applied:
    """As this release has it."""
    return {version: {file.name: file.sha256 for file in files.of(version)} for version in files.versions()}


def digests(versions: Applied) -> dict[str, str]:
    """A version's files as one SHA-256."""
    return {
        version: hashlib.sha256("".join(f"{file} {of[file]}\n" for file in sorted(of)).encode()).hexdigest()
        for version, of in versions.items()
    }


def _faults(known: list[str], found: Applied) -> Iterator[str]:
    last = max(found, default="")
    for version in sorted({*known, *found}):
        if version not in known:
            if version < known[-1]:
                yield f"version {version} was applied, and this release has none of that number"
        elif version not in found:
            if version < last:
                yield f"version {version} was skipped: {last} is applied"
        else:
            now = {file.name: file.sha256 for file in files.of(version)}
            yield from (
                f"{version}/{name} is not the file that was applied"
                for name in sorted({*now, *found[version]})
                if now.get(name) != found[version].get(name)
            )
