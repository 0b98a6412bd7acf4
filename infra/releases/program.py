"""The program that made a release run: copied beside its record, and run again from there."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from infra import releases
from infra.errors import MaiaError
from infra.releases import CURRENT, LOCK, PREVIOUS, Record
from infra.site import REPO, Site

Say = Callable[[str], None]

FOLDERS = ("app", "checks", "infra", "roles", "stacks", "templates")
APART = 64
"""Descriptors from here on are no shell script's own."""
LATER = "MAIA_LATER"
"""Names the folder of a later program, whose resources an earlier one is to remove."""
FILES = ("maia", "Pulumi.yaml", "pyproject.toml", "requirements.lock", "requirements-dev.lock")


def files(root: Path = REPO) -> Iterator[Path]:
    """All that a program is, without its tests and documents, relative to its folder."""
    yield from (Path(name) for name in FILES if (root / name).exists())
    for name in FOLDERS:
        for path in sorted((root / name).rglob("*")):
            below = path.relative_to(root)
            if path.is_file() and path.suffix != ".pyc" and not any(part.startswith(".") for part in below.parts):
                yield below


def fingerprint(root: Path = REPO) -> str:
    """A hash of the program."""
    digest = hashlib.sha256()
    for path in sorted(files(root)):
        content = (root / path).read_bytes()
        digest.update(f"{path}\0{os.access(root / path, os.X_OK)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:12]


def keep(site: Site, stack: str, record: Record) -> None:
    """Have a copy of this program beside the record of what it made."""
    place = releases.folder(site, stack, record)
    if place.exists():
        return
    partial = place.with_name("copy.partial")
    shutil.rmtree(partial, ignore_errors=True)
    for path in files():
        (partial / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPO / path, partial / path)
    partial.replace(place)


def tidy(site: Site, stack: str) -> None:
    """Remove the programs that no record names; this one is never removed under itself."""
    named = [record for name in (CURRENT, PREVIOUS) if (record := releases.read(site, stack, name))]
    kept = {REPO, *(releases.folder(site, stack, record) for record in named)}
    for place in releases.home(site, stack).iterdir():
        if place.is_dir() and place not in kept:
            shutil.rmtree(place, ignore_errors=True)


def run(site: Site, stack: str, record: Record, *words: str, lock: int, say: Say, mend: str = "") -> str:
    """Have a release's own program do a verb on the stack, under the lock that this one holds.

    Returns:
        What it printed.

    Raises:
        MaiaError: it failed; with its own line.
    """
    held = fcntl.fcntl(lock, fcntl.F_DUPFD, APART)
    environment = os.environ | {"MAIA_SITE": str(site.root.absolute()), "MAIA_STACK": stack}
    environment |= {LOCK: str(held), LATER: str(REPO)}
    command: list[str | Path] = [releases.folder(site, stack, record) / "maia", *words]
    last = ""
    with (
        tempfile.TemporaryFile("w+", errors="replace") as printed,
        subprocess.Popen(
            command, env=environment, pass_fds=(held,), text=True, errors="replace",
            stdin=subprocess.DEVNULL, stdout=printed, stderr=subprocess.PIPE,
        ) as child,
    ):  # fmt: skip
        assert child.stderr
        for line in child.stderr:
            last = line.strip() or last
            say(last.partition("] ")[2] or last)
        code = child.wait()
        printed.seek(0)
        said = printed.read()
    os.close(held)
    if code:
        told = last.removeprefix("maia: ") if last.startswith("maia: ") else said.strip().rpartition("\n")[2]
        raise MaiaError(told, where=f"maia {words[0]} of release {record.release}", mend=mend)
    return said
