"""What one run has for as long as it works on a server: the server to itself, and secrets in this machine's memory."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from infra.errors import MaiaError
from infra.hosts.reach import Link

MEMORY = Path("/dev/shm")
PREFIX = "maia-secrets-"
LOCK = "/run/maia.lock"
HELD = "held"
HOLD = f"""
exec 9>>{LOCK}
flock --nonblock 9 || {{ cat {LOCK}; exit; }}
echo "$1" >{LOCK}
echo {HELD}
cat >/dev/null
"""
"""Lets go when its input ends: with the connection, however that ends."""


@contextmanager
def alone(link: Link, who: str) -> Iterator[None]:
    """Be the only run that works on the server.

    Raises:
        MaiaError: another run works on it; with which.
    """
    first = link.hold(HOLD, who)
    if first != HELD:
        what = f"another run works on it: {first}" if first else "another run works on it"
        raise MaiaError(what, where=f"host {link.server.name}", mend="wait for it to end")
    try:
        yield
    finally:
        link.release()


@contextmanager
def lent(secrets: Mapping[str, str]) -> Iterator[Path]:
    """A folder with a file for each secret, in memory, for us alone, and gone afterwards."""
    if not os.path.ismount(MEMORY):
        raise MaiaError("is not in memory", where=str(MEMORY), mend=f"mount -t tmpfs tmpfs {MEMORY}")
    _sweep()
    with tempfile.TemporaryDirectory(prefix=f"{PREFIX}{os.getpid()}-", dir=MEMORY) as name:
        folder = Path(name)
        for secret, value in secrets.items():
            with open(os.open(folder / secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "w") as file:
                file.write(value)
        yield folder


def _sweep() -> None:
    """Remove what a killed run left."""
    for folder in MEMORY.glob(f"{PREFIX}*"):
        pid = folder.name.removeprefix(PREFIX).partition("-")[0]
        if not Path("/proc", pid).exists() and folder.lstat().st_uid == os.geteuid():
            shutil.rmtree(folder, ignore_errors=True)
