"""The lab hosts of a site, on one bridge: containers with a volume for a Docker of their own, or virtual machines."""

from __future__ import annotations

import hashlib
import re
import shutil
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import docker
from docker.errors import NotFound
from docker.models.containers import Container
from docker.models.networks import Network

from infra import ssh
from infra.errors import MaiaError
from infra.lab import files, root, vm
from infra.site import Site
from infra.toolchain.lock import held

PREFIX = "maia-lab-"
SITE, RELEASE, INIT, KERNEL = "maia.lab.site", "maia.lab.debian", "maia.lab.init", "maia.lab.kernel"
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


class Kind(NamedTuple):
    release: str
    systemd: bool
    own: bool
    """Whether the kernel is."""


@dataclass(frozen=True, kw_only=True)
class Host:
    name: str
    release: str
    """Of Debian."""
    systemd: bool
    own: bool
    """Whether its kernel is: a virtual machine."""
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
            verb = "vm" if host and host.own else "up"
            raise MaiaError(what, where=f"lab host {name}", mend=f"maia lab {verb} {name}")
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
        return self._up(
            name, Kind(release, systemd, own=False), lambda: self._create(name, release, systemd, volumes, say), say
        )

    def machine(self, name: str, say: Say, *, archive: Path | None = None) -> ssh.Server:
        """The same with a kernel of its own: a virtual machine, emulated, and slow.

        Args:
            archive: of its root file system, with all that `vm.GUEST` has; that one by default.

        Raises:
            MaiaError: the name is taken by another kind of host or another site, or it does not answer.
        """
        return self._up(
            name, Kind(vm.RELEASE, systemd=True, own=True), lambda: self._create_machine(name, archive, say), say
        )

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

    def _up(self, name: str, kind: Kind, create: Callable[[], Container], say: Say) -> ssh.Server:
        _check(name)
        with self._held(say):
            container = self._existing(name, kind)
            if container is None:
                say(f"{name}: making it")
                container = create()
            if container.status != "running":
                say(f"{name}: starting")
                container.start()
        server = self.server(name)
        self._await(server, container, vm.PATIENCE if kind.own else PATIENCE, say)
        return server

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

    def _existing(self, name: str, kind: Kind) -> Container | None:
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
        if Kind(host.release, host.systemd, host.own) != kind:
            found = "a kernel of its own" if host.own else "systemd" if host.systemd else "no systemd"
            what = f"is Debian {host.release} with {found} already"
            raise MaiaError(what, where=where, mend=f"maia lab down {name}, or another name")
        return container

    def _create(self, name: str, release: str, systemd: bool, volumes: Sequence[str], say: Say) -> Container:
        image = root.ensure(self.client, root.BARE[release], say)
        host_key, public = self._prepare(name)
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

    def _create_machine(self, name: str, archive: Path | None, say: Say) -> Container:
        image = root.ensure(self.client, vm.EMULATOR, say)
        archive = archive or root.archive(vm.GUEST, say)
        host_key, public = self._prepare(name)
        container = self.client.containers.create(
            image,
            [name],
            entrypoint=[f"{vm.FOLDER}/emulate"],
            name=PREFIX + name,
            hostname=name,
            network=self.network,
            labels=_labels(self._mine) | {RELEASE: vm.RELEASE, INIT: "systemd", KERNEL: "own"},
            **vm.LENT,
        )
        say(f"{name}: bringing its disk")
        vm.put(container, files.seed(name, host_key, public), archive)
        return container

    def _prepare(self, name: str) -> tuple[bytes, str]:
        """What a host has before it is there: a bridge, and a key of its own that is pinned; ours may log in."""
        if not self._networks():
            self.client.networks.create(self.network, driver="bridge", labels=_labels(self._mine))
        self.home.mkdir(exist_ok=True, mode=0o700)
        public = ssh.ensure_key(self._key)
        host_key, host_line = ssh.generate()
        self._known(name).write_text(f"{PREFIX}{name} {host_line}\n")
        return host_key, public

    def _await(self, server: ssh.Server, container: Container, patience: float, say: Say) -> None:
        deadline = time.monotonic() + patience
        while (answer := server.run("true", timeout=patience)).returncode:
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
        own=container.labels.get(KERNEL) == "own",
        state=container.status,
        address=next((each["IPAddress"] for each in networks.values()), ""),
    )
