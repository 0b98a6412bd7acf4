"""Work folders that the next run clears away when their owner was killed."""

from __future__ import annotations

import fcntl
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_OWNER = ".owner"


@contextmanager
def folder(parent: Path, remove: Callable[[Path], None]) -> Iterator[Path]:
    """A fresh folder in ``parent``, removed at the end; what dead processes left there goes first."""
    parent.mkdir(parents=True, exist_ok=True)
    with (parent / _OWNER).open("a") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)  # so that nobody takes a folder for left that is just being made
        for left in dead(parent):
            remove(left)
        path = Path(tempfile.mkdtemp(dir=parent))
        owner = (path / _OWNER).open("w")
        fcntl.flock(owner, fcntl.LOCK_EX)
    try:
        yield path
    finally:
        remove(path)
        owner.close()


def dead(parent: Path) -> list[Path]:
    """Folders in ``parent`` whose owner was killed."""
    return [path for path in parent.glob("*") if path.is_dir() and _is_dead(path)]


def _is_dead(path: Path) -> bool:
    try:
        with (path / _OWNER).open() as owner:
            fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return True
    except BlockingIOError:
        return False
    return True
