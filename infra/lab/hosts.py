"""The lab hosts of a site: containers with a volume for a Docker of their own, on a bridge of their own."""

from __future__ import annotations

import hashlib
import re
import shutil
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
from docker.errors import NotFound
from docker.models.containers import Container
from docker.models.networks import Network

from infra import ssh
from infra.errors import MaiaError
from infra.lab import files, root
from infra.site import Site
from infra.toolchain.lock import held

PREFIX = "maia-lab-"
SITE, RELEASE, INIT = "maia.lab.site", "maia.lab.debian", "maia.lab.init"
STATE = ("docker", "containerd")
"""Folders of /var/lib that cannot be on the file system of a container, whose layers they make themselves."""
PATIENCE = 120.0
"""Seconds within which a started host must answer."""
LENT: Mapping[str, Any] = {
    # What systemd and a Docker inside need, and not the powers over what the kernel has but once.
    "cap_add": ["ALL"],
    "cap_drop": ["SYS_RESOURCE", "SYS_MODULE", "SYS_TIME", "SYS_RAWIO", "SYS_BOOT"],
    "security_opt": ["seccomp=unconfined", "apparmor=unconfined"],
    "device_cgroup_rules": ["a *:* rwm"],
    "cgroupns": "private",
    "environment": {"container": "docker"},
    "tmpfs": {"/run": "exec,mode=755", "/run/lock": ""},
    "tty": True,
}
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Host:
    name: str
    release: str
    """Of Debian."""
    systemd: bool
    state: str
    """Docker's word."""
    address: str
    """Empty where it does not run."""


class Lab:
    """The lab hosts that belong to one site folder."""

    def __init__(self, site: Site, client: docker.DockerClient) -> None:
        self.home = site.root / "lab"
        self.client = client
        self._site = str(site.root.resolve())
        self._lock = site.root / "locks" / "lab.lock"
        self.network = PREFIX + hashlib.sha256(self._site.encode()).hexdigest()[:8]

    def hosts(self) -> list[Host]:
        """Those there are, by name."""
        return sorted(map(_host, self._containers()), key=lambda host: host.name)

    def server(self, name: str) -> ssh.Server:
        """How a running host is reached.

        Raises:
            MaiaError: there is none of that name, or it does not run.
        """
        host = next((host for host in self.hosts() if host.name == name), None)
        if host is None or not host.address:
            what = f"is {host.state}" if host else f"there is no lab host {name!r}"
            raise MaiaError(what, where=f"lab host {name}", mend=f"maia lab up {name}")
        return ssh.Server(
            name=PREFIX + name, address=host.address, user=root.USER, key=self._key, known=self._known(name)
        )

    def up(
        self, name: str, say: Say, *, release: str = "13", systemd: bool = True, volumes: Sequence[str] = ()
    ) -> ssh.Server:
        """A host that answers: made, started, or just as it is.

        Args:
            volumes: what it sees of this machine, as ``docker run --volume`` takes it.

        Raises:
            MaiaError: the name is taken by another kind of host or another site, or it does not answer.
        """
        _check(name)
        with self._held(say):
            container = self._existing(name, release, systemd)
            if container is None:
                say(f"{name}: making it")
                container = self._create(name, release, systemd, volumes, say)
            if container.status != "running":
                say(f"{name}: starting")
                container.start()
        server = self.server(name)
        self._await(server, container, say)
        return server

    def down(self, say: Say, names: Collection[str] = ()) -> list[str]:
        """Remove hosts, all by default, with what they hold; after the last one nothing is left.

        Returns:
            The names of those that were there.
        """
        with self._held(say):
            for name in names:
                _check(name)
            removed = []
            for container in self._containers():
                name = str(container.name).removeprefix(PREFIX)
                if not names or name in names:
                    say(f"{name}: removing")
                    container.remove(force=True, v=True)
                    removed.append(name)
            self._remove_volumes(names)
            for name in names:
                self._known(name).unlink(missing_ok=True)
            if not self._containers():
                for network in self._networks():
                    network.remove()
                shutil.rmtree(self.home, ignore_errors=True)
        return sorted(removed)

    @property
    def _mine(self) -> dict[str, Any]:
        return {"label": f"{SITE}={self._site}"}

    @property
    def _key(self) -> Path:
        return self.home / "id_ed25519"

    def _known(self, name: str) -> Path:
        return self.home / f"{name}.known"

    def _held(self, say: Say) -> AbstractContextManager[None]:
        self._lock.parent.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return held(self._lock, "lab hosts", say)

    def _containers(self) -> list[Container]:
        return self.client.containers.list(all=True, ignore_removed=True, filters=self._mine)

    def _networks(self) -> list[Network]:
        return self.client.networks.list(filters=self._mine)

    def _remove_volumes(self, names: Collection[str]) -> None:
        """Those of the hosts named, or all of the site's."""
        wanted = {_volume(name, folder) for name in names for folder in STATE}
        for volume in self.client.volumes.list(filters=self._mine):
            if not names or volume.name in wanted:
                volume.remove(force=True)

    def _existing(self, name: str, release: str, systemd: bool) -> Container | None:
        """The host, unless it is still to be made, or was not made to the end."""
        try:
            container = self.client.containers.get(PREFIX + name)
        except NotFound:
            return None
        where = f"lab host {name}"
        if container.labels.get(SITE) != self._site:
            owner = container.labels.get(SITE, "nobody's lab")
            raise MaiaError(f"the name is taken by {owner}", where=where, mend="choose another one")
        if container.status == "created":
            container.remove(force=True, v=True)
            return None
        host = _host(container)
        if (host.release, host.systemd) != (release, systemd):
            kind = f"Debian {host.release} with{'' if host.systemd else 'out'} systemd"
            raise MaiaError(f"is {kind} already", where=where, mend=f"maia lab down {name}, or another name")
        return container

    def _create(self, name: str, release: str, systemd: bool, volumes: Sequence[str], say: Say) -> Container:
        image = root.ensure(self.client, release, say)
        if not self._networks():
            self.client.networks.create(self.network, driver="bridge", labels=_labels(self._mine))
        self.home.mkdir(exist_ok=True, mode=0o700)
        public = ssh.ensure_key(self._key)
        host_key, host_line = ssh.generate()
        self._known(name).write_text(f"{PREFIX}{name} {host_line}\n")
        labels = _labels(self._mine)
        self._remove_volumes([name])  # of a host whose removal was cut short
        for folder in STATE:
            self.client.volumes.create(_volume(name, folder), labels=labels)
        container = self.client.containers.create(
            image,
            ["systemd" if systemd else "sshd"],
            entrypoint=[files.INIT],
            name=PREFIX + name,
            hostname=name,
            network=self.network,
            labels=labels | {RELEASE: release, INIT: "systemd" if systemd else "sshd"},
            stop_signal="SIGRTMIN+3" if systemd else "SIGTERM",
            volumes=[*(f"{_volume(name, folder)}:/var/lib/{folder}" for folder in STATE), *volumes],
            **LENT,
        )
        container.put_archive("/", files.archive(host_key, public))
        return container

    def _await(self, server: ssh.Server, container: Container, say: Say) -> None:
        deadline = time.monotonic() + PATIENCE
        while (answer := server.run("true", timeout=PATIENCE)).returncode:
            container.reload()
            if time.monotonic() > deadline or container.status != "running":
                said = " ".join(answer.stderr.split()) or f"it is {container.status}"
                logs = container.logs(tail=4).decode(errors="replace")
                words = " | ".join(line.strip() for line in logs.splitlines() if line.strip())
                raise MaiaError(
                    f"does not answer: {said}; its last words: {words}",
                    where=f"lab host {server.name}",
                    mend=f"docker logs {server.name}",
                )
            say("waiting for ssh")
            time.sleep(0.2)


def _check(name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,30}", name):
        raise MaiaError(
            f"{name!r} is no name of a host", where="lab", mend="up to 31 of a-z, 0-9 and -, a letter first"
        )


def _labels(mine: Mapping[str, Any]) -> dict[str, str]:
    return dict([str(mine["label"]).split("=", 1)])


def _volume(name: str, folder: str) -> str:
    return f"{PREFIX}{name}-{folder}"


def _host(container: Container) -> Host:
    networks = container.attrs["NetworkSettings"]["Networks"]
    return Host(
        name=str(container.name).removeprefix(PREFIX),
        release=container.labels[RELEASE],
        systemd=container.labels[INIT] == "systemd",
        state=container.status,
        address=next((each["IPAddress"] for each in networks.values()), ""),
    )
