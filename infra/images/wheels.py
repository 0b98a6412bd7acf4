"""Hash-pinned wheels for Debian's Python, fetched by whatever Python runs the builder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from infra.errors import MaiaError
from infra.images import scratch, store
from infra.images.layer import sha256
from infra.images.sandbox import remove
from infra.site import REPO
from infra.toolchain.lock import held

PYTHON = "3.13"  # of the base's Debian
GLIBC = ("2_41", "2_39", "2_38", "2_36", "2_35", "2_34", "2_31", "2_28", "2_27", "2_26", "2_24", "2_17", "2014")


def pip(verb: str) -> list[str]:
    """The pip command that takes wheels for the images' Python and nothing else."""
    machine = os.uname().machine
    platforms = [f"--platform=manylinux{'' if '_' not in version else '_'}{version}_{machine}" for version in GLIBC]
    return [
        sys.executable, "-m", "pip", verb, "--quiet", "--no-input", "--disable-pip-version-check", "--no-deps",
        "--require-hashes", "--only-binary=:all:", "--implementation=cp", f"--python-version={PYTHON}", *platforms,
    ]  # fmt: skip


def fetch(lock: str, say: Callable[[str], None], vendor: Path | None = None) -> Path:
    """The folder with every wheel of a lock file of the repository."""
    source = REPO / lock
    if vendor:
        return vendor
    home = store.home() / "wheels" / sha256(source)[:12]
    with held(home.parent / "lock", "wheels", say):
        if not home.exists():
            say("fetching wheels")
            with scratch.folder(store.home() / "work", remove) as work:
                bounds = ["--timeout=20", "--retries=2"]
                command = [*pip("download"), *bounds, "--dest", str(work / "wheels"), "--requirement", str(source)]
                done = subprocess.run(command, capture_output=True, text=True, timeout=900)
                if done.returncode:
                    raise MaiaError(
                        f"wheels cannot be fetched: {' '.join(done.stderr.split())[-400:]}",
                        where=lock,
                        mend="check the network and pip's settings",
                    )
                os.replace(work / "wheels", home)
    return home
