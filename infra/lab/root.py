"""Root file systems of lab hosts: Debian as an installer leaves it, with ssh and sudo and little else."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from infra.images import build, debian, sandbox, scratch
from infra.site import cache
from infra.toolchain.lock import held

if TYPE_CHECKING:
    import docker

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
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Root:
    """What a root file system is made of."""

    name: str
    suite: str
    packages: tuple[str, ...] = PACKAGES
    hooks: tuple[str, ...] = HOOKS

    @property
    def key(self) -> str:
        """Of all that decides what is in it."""
        mirror = debian.mirror(self.suite, None)
        parts = (self.suite, BOOTSTRAP, self.packages, self.hooks, mirror.lines, debian.architecture())
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


BARE = {
    "12": Root(name="debian12", suite="bookworm"),
    "13": Root(name="debian13", suite="trixie"),
}
"""Hosts in containers, by their release of Debian."""


def reference(root: Root) -> str:
    """Its name as an image of Docker."""
    return f"maia-lab/{root.name}:{root.key}"


def ensure(client: docker.DockerClient, root: Root, say: Say) -> str:
    """The reference of the root as an image of Docker, made if it must be."""
    from docker.errors import ImageNotFound

    with held(_home() / f"{root.name}-loading.lock", root.name, say):
        try:
            client.images.get(reference(root))
        except ImageNotFound:
            found = archive(root, say)
            say(f"{root.name}: loading into Docker")
            client.api.import_image_from_file(str(found), *reference(root).split(":"))
    return reference(root)


def archive(root: Root, say: Say) -> Path:
    """The root as a tar archive, made if it must be."""
    path = _home() / f"{root.name}-{root.key}.tar"
    with held(_home() / f"{root.name}.lock", root.name, say):
        if not path.exists():
            _bootstrap(root, path, say)
    return path


def _home() -> Path:
    return cache() / "lab"


def _bootstrap(root: Root, path: Path, say: Say) -> None:
    build.require()
    with scratch.folder(path.parent / "work", sandbox.remove) as work:
        command = [
            *BOOTSTRAP, "--verbose", "--mode=root", "--variant=minbase", "--format=tar", "--components=main",
            f"--keyring={debian.KEYRING}", *(f"--include={package}" for package in root.packages),
            *(f"--aptopt={option}" for option in (*debian.BOUNDS, *debian.CHOICES)), "--dpkgopt=force-unsafe-io",
            *(f"--customize-hook={hook}" for hook in root.hooks),
            root.suite, str(work / "root.tar"), *debian.mirror(root.suite, None).lines,
        ]  # fmt: skip
        say(f"{root.name}: bootstrapping, once")
        log = work / "build.log"
        sandbox.execute(root.name, command, log, lambda text: say(f"{root.name}: {text}"), {"TMPDIR": str(work)})
        for older in path.parent.glob(f"{root.name}-*.tar"):
            older.unlink()
        os.replace(work / "root.tar", path)
