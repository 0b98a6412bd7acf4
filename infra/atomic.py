"""Files that are replaced in one step: whoever reads meets the old or the new, and a killed run leaves the old.

Standard library only: it is carried out on servers too (`infra.place`).
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def write(path: Path, content: str | bytes, *, mode: int = 0o600, owner: tuple[int, int] | None = None) -> None:
    """Make ``path`` hold ``content``; nobody but its ``owner`` (uid, gid) could ever open what it was made from."""
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        if owner:
            os.fchown(file.fileno(), *owner)
        os.fchmod(file.fileno(), mode)
    os.replace(partial, path)


def fill(root: str, files: dict[str, str], *, uid: int, gid: int, private: bool) -> None:
    """Make the folder ``root`` hold just ``files`` (relative path to text).

    Private files are 0400 and their folder 0500, both owned by ``uid``; others belong to root and are 0444.
    Each file changes at once: a reader sees the old text or the new one.
    """
    folder = Path(root)
    owner, folder_mode, mode = ((uid, gid), 0o500, 0o400) if private else ((0, 0), 0o755, 0o444)
    folder.mkdir(parents=True, exist_ok=True)
    os.chmod(folder, 0o700 if private else folder_mode)  # a part may be reading there
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, text, mode=mode, owner=owner)
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir():
            os.chown(path, *owner)
            os.chmod(path, folder_mode)
        elif str(path.relative_to(folder)) not in files:
            path.unlink()
    os.chown(folder, *owner)
    os.chmod(folder, folder_mode)


def look(root: str) -> dict[str, str] | None:
    """The files below ``root`` as they are, or None where there is no such folder."""
    folder = Path(root)
    if not folder.is_dir():
        return None
    return {
        str(path.relative_to(folder)): path.read_text(errors="replace")
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def read(path: str) -> str:
    """One file."""
    return Path(path).read_text()


def mode(path: str) -> tuple[int, int]:
    """Permissions and owner of what is at ``path``."""
    found = os.stat(path)
    return found.st_mode & 0o7777, found.st_uid


def own(path: str, uid: int, gid: int) -> None:
    """Make a folder that opens to one user alone."""
    os.makedirs(path, exist_ok=True)
    os.chown(path, uid, gid)
    os.chmod(path, 0o700)


def owner(path: str) -> tuple[int, int] | None:
    """Whose a folder is, or None where there is none."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_uid, found.st_gid


def clear(*paths: str) -> None:
    """Remove folders with all that is in them, where they are there."""
    for path in paths:
        shutil.rmtree(path, ignore_errors=True)
