"""Root file systems of lab hosts: Debian as an installer leaves it, with ssh and sudo and little else."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from infra.images import build, debian, sandbox, scratch
from infra.site import cache
from infra.toolchain.lock import held

if TYPE_CHECKING:
    import docker

SUITES = {"12": "bookworm", "13": "trixie"}
"""Releases of Debian that there are hosts of."""
USER = "deploy"
"""Who logs in; root by sudo."""
UID = 1000
PACKAGES = ("ca-certificates", "dbus", "iproute2", "openssh-server", "python3", "sudo", "systemd", "systemd-sysv")
HOOKS = (
    f'chroot "$1" useradd --create-home --shell /bin/bash --uid {UID} {USER}',
    # Keys are a host's own, and what mmdebstrap was told is none of its habits.
    'rm -f "$1"/etc/ssh/ssh_host_* "$1"/etc/apt/apt.conf.d/99mmdebstrap "$1"/etc/dpkg/dpkg.cfg.d/99mmdebstrap',
)

BOOTSTRAP = ("env", "--unset=PYTHONPYCACHEPREFIX", "mmdebstrap")
"""Packages whose installation runs Python would fill a folder of ours there with its bytecode."""


def ensure(client: docker.DockerClient, release: str, say: Callable[[str], None]) -> str:
    """The reference of the release's root as an image of Docker, made if it must be."""
    from docker.errors import ImageNotFound

    name = f"debian{release}"
    reference = f"maia-lab/{name}:{_key(release)}"
    with held(_home() / f"{name}-loading.lock", name, say):
        try:
            client.images.get(reference)
        except ImageNotFound:
            found = archive(release, say)
            say(f"{name}: loading into Docker")
            client.api.import_image_from_file(str(found), *reference.split(":"))
    return reference


def archive(release: str, say: Callable[[str], None]) -> Path:
    """The tar archive of the release's root, made if it must be."""
    name = f"debian{release}"
    path = _home() / f"{name}-{_key(release)}.tar"
    with held(_home() / f"{name}.lock", name, say):
        if not path.exists():
            _bootstrap(release, debian.mirror(SUITES[release], None), path, say)
    return path


def _home() -> Path:
    return cache() / "lab"


def _key(release: str) -> str:
    """Of all that decides what is in it."""
    mirror = debian.mirror(SUITES[release], None)
    parts = (SUITES[release], BOOTSTRAP, PACKAGES, HOOKS, mirror.lines, debian.architecture())
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


def _bootstrap(release: str, mirror: debian.Mirror, path: Path, say: Callable[[str], None]) -> None:
    name = f"debian{release}"
    build.require()
    with scratch.folder(path.parent / "work", sandbox.remove) as work:
        command = [
            *BOOTSTRAP, "--verbose", "--mode=root", "--variant=minbase", "--format=tar", "--components=main",
            f"--keyring={debian.KEYRING}", *(f"--include={package}" for package in PACKAGES),
            *(f"--aptopt={option}" for option in (*debian.BOUNDS, *debian.CHOICES)), "--dpkgopt=force-unsafe-io",
            *(f"--customize-hook={hook}" for hook in HOOKS),
            SUITES[release], str(work / "root.tar"), *mirror.lines,
        ]  # fmt: skip
        say(f"{name}: bootstrapping, once")
        log = work / "build.log"
        sandbox.execute(name, command, log, lambda text: say(f"{name}: {text}"), {"TMPDIR": str(work)})
        for older in path.parent.glob(f"{name}-*.tar"):
            older.unlink()
        os.replace(work / "root.tar", path)
