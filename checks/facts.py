"""What runs, as it is: read once, from Docker and from /proc. Compares nothing."""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import docker
from docker.errors import NotFound

from infra.plan import Plan

PROC = Path("/proc")
HANDOVER = 3.0
"""Seconds within which the runtime hands over to the command it starts, on a busy machine."""
SECRETS = "run/secrets"
CONFIG = "etc/maia"


class NotThere(Exception):
    """What a check wants to look at does not exist."""


@dataclass(frozen=True)
class Process:
    pid: int
    parent: int
    uids: frozenset[int]
    gids: frozenset[int]
    capabilities: int
    """Effective and permitted, as a bit mask."""
    no_new_privileges: bool
    seccomp: int
    """0 off, 2 filter."""
    command: str
    environment: str = field(repr=False)


@dataclass(frozen=True)
class FileMode:
    mode: int
    uid: int
    gid: int

    def __str__(self) -> str:
        return f"{self.mode:04o} {self.uid}:{self.gid}"


@dataclass(frozen=True)
class ContainerFact:
    inspect: dict[str, Any]
    image: dict[str, Any]
    """What its image says."""
    processes: tuple[Process, ...] = ()
    """All in its PID namespace."""
    secrets: dict[str, FileMode] = field(default_factory=dict)
    config: dict[str, FileMode] = field(default_factory=dict)
    gateways: tuple[str, ...] = ()
    """Where its default routes lead."""
    resolvers: tuple[str, ...] = ()

    @property
    def pid(self) -> int:
        """0 where it does not run."""
        return int(self.inspect["State"]["Pid"])

    @property
    def host(self) -> dict[str, Any]:
        found: dict[str, Any] = self.inspect["HostConfig"]
        return found

    @property
    def settings(self) -> dict[str, Any]:
        found: dict[str, Any] = self.inspect["Config"]
        return found

    @cached_property
    def lasting(self) -> tuple[Process, ...]:
        """The first process and its descendants: not what was put in beside it, such as a health command."""
        parents = {process.pid: process.parent for process in self.processes}

        def descends(pid: int) -> bool:
            while pid in parents and pid != self.pid:
                pid = parents[pid]
            return pid == self.pid

        return tuple(process for process in self.processes if descends(process.pid))


@dataclass(frozen=True)
class Facts:
    containers: dict[str, ContainerFact]
    """By name: those of the plan that exist, and any other that runs under the stack's name or in its networks."""
    networks: dict[str, dict[str, Any]]
    machine_addresses: tuple[str, ...]
    """Every address of this machine but loopback and link-local ones."""
    forwarders: frozenset[tuple[str, int]]
    """Address and port of docker-proxy listeners that lead to one of the containers."""
    engine: str
    """Version of the Docker engine."""

    def container(self, name: str) -> ContainerFact:
        """Raises:
        NotThere: it does not exist.
        """
        try:
            return self.containers[name]
        except KeyError:
            raise NotThere(f"no container {name}") from None


def gather(plan: Plan) -> Facts:
    """Look at everything once."""
    client = docker.from_env(timeout=20)
    networks = {}
    for network in plan.networks:
        try:
            networks[network.name] = client.api.inspect_network(network.name)
        except NotFound:
            continue
    named = {container.name for container in plan.containers}
    joined = {key for network in networks.values() for key in network.get("Containers") or {}}
    containers = {}
    processes = _lasting_processes()
    for entry in client.api.containers(all=True):
        name = entry["Names"][0].removeprefix("/")
        ours = name.startswith(f"maia-{plan.stack}-") or entry["Id"] in joined
        if name in named or (ours and entry["State"] != "exited"):
            inspect = client.api.inspect_container(entry["Id"])
            image = client.api.inspect_image(inspect["Image"])  # type: ignore[no-untyped-call]
            containers[name] = _container(inspect, image, processes)
    addresses = {
        attached["IPAddress"]
        for fact in containers.values()
        for attached in fact.inspect["NetworkSettings"]["Networks"].values()
    }
    return Facts(
        containers=containers,
        networks=networks,
        machine_addresses=tuple(machine_addresses()),
        forwarders=frozenset(_forwarders(processes, addresses)),
        engine=client.api.version()["Version"],
    )


def _container(
    inspect: dict[str, Any], image: dict[str, Any], processes: Iterable[tuple[str, Process]]
) -> ContainerFact:
    pid = inspect["State"]["Pid"]
    if not pid:
        return ContainerFact(inspect, image)
    proc, root = PROC / str(pid), PROC / str(pid) / "root"
    try:
        namespace = os.readlink(proc / "ns/pid")
        return ContainerFact(
            inspect,
            image,
            processes=tuple(process for space, process in processes if space == namespace),
            secrets=dict(_modes(root / SECRETS)),
            config=dict(_modes(root / CONFIG)),
            gateways=tuple(_gateways(proc)),
            resolvers=tuple(
                line.split()[1]
                for line in (root / "etc/resolv.conf").read_text().splitlines()
                if line.startswith("nameserver ")
            ),
        )
    except FileNotFoundError:
        return ContainerFact(inspect, image)


def _modes(folder: Path) -> Iterator[tuple[str, FileMode]]:
    for path in sorted(folder.rglob("*")):
        if not path.is_dir():
            found = path.lstat()
            yield str(path.relative_to(folder)), FileMode(found.st_mode & 0o7777, found.st_uid, found.st_gid)


def _gateways(proc: Path) -> Iterator[str]:
    for line in (proc / "net/route").read_text().splitlines()[1:]:
        _device, destination, gateway, _flags, _count, _use, _metric, mask, *_ = line.split()
        if int(destination, 16) == 0 and int(mask, 16) == 0:
            yield socket.inet_ntoa(struct.pack("<I", int(gateway, 16)))


def _lasting_processes() -> list[tuple[str, Process]]:
    """Those that outlast two looks, and are what they will be: a command that Docker starts in a container begins as
    its runtime, with all the runtime's powers, for a moment."""
    deadline = time.monotonic() + HANDOVER
    before = {process.pid for _, process in _processes()}
    while True:
        time.sleep(0.05)
        now = list(_processes())
        if time.monotonic() > deadline or not any(process.command == "runc init" for _, process in now):
            return [(space, process) for space, process in now if process.pid in before]
        before = {process.pid for _, process in now}


def _processes() -> Iterator[tuple[str, Process]]:
    for entry in PROC.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            namespace = os.readlink(entry / "ns/pid")
            status = dict(line.split(":\t", 1) for line in (entry / "status").read_text().splitlines() if ":\t" in line)
            yield (
                namespace,
                Process(
                    pid=int(entry.name),
                    parent=int(status["PPid"]),
                    uids=frozenset(int(uid) for uid in status["Uid"].split()),
                    gids=frozenset(int(gid) for gid in status["Gid"].split()),
                    capabilities=int(status["CapEff"], 16) | int(status["CapPrm"], 16),
                    no_new_privileges=status.get("NoNewPrivs") == "1",
                    seccomp=int(status.get("Seccomp", "0")),
                    command=_joined(entry / "cmdline"),
                    environment=_joined(entry / "environ"),
                ),
            )
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue


def _joined(path: Path) -> str:
    return path.read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()


def machine_addresses() -> Iterator[str]:
    """IPv4 and IPv6 addresses of this machine, loopback and link-local ones left out."""
    lines = (PROC / "net/fib_trie").read_text().splitlines()
    local = {above.split()[-1] for above, line in pairwise(lines) if "/32 host LOCAL" in line}
    yield from sorted(address for address in local if not address.startswith(("127.", "169.254.")))
    table = PROC / "net/if_inet6"
    for line in table.read_text().splitlines() if table.exists() else ():
        digits, _index, _prefix, scope, *_ = line.split()
        if scope == "00":
            yield ":".join(digits[i : i + 4] for i in range(0, 32, 4))


def _forwarders(processes: Iterable[tuple[str, Process]], addresses: set[str]) -> Iterator[tuple[str, int]]:
    for _space, process in processes:
        words = process.command.split()
        if words and words[0].endswith("docker-proxy"):
            options = dict(zip(words[1::2], words[2::2], strict=False))
            if options.get("-container-ip") in addresses:
                yield options["-host-ip"], int(options["-host-port"])
