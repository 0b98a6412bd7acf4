"""Files that are replaced in one step: whoever reads meets the old or the new, and a killed run leaves the old."""

from __future__ import annotations

import os
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
