"""What runs, as it is: read once, from Docker and from Linux. Compares nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from docker.errors import NotFound

from checks import reader
from infra.place import HERE, Place
from infra.plan import Plan


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


def gather(plan: Plan, at: Place = HERE) -> Facts:
    """Look at everything once, where it runs."""
    client = at.docker(20)
    networks = {}
    for network in plan.networks:
        try:
            networks[network.name] = client.api.inspect_network(network.name)
        except NotFound:
            continue
    named = {container.name for container in plan.containers}
    members = {key for network in networks.values() for key in network.get("Containers") or {}}
    inspected = {}
    for entry in client.api.containers(all=True):
        name = entry["Names"][0].removeprefix("/")
        ours = name.startswith(f"maia-{plan.stack}-") or entry["Id"] in members
        if name in named or (ours and entry["State"] != "exited"):
            inspected[name] = client.api.inspect_container(entry["Id"])
    images = {each["Image"]: client.images.get(each["Image"]).attrs for each in inspected.values()}
    there = at.call(reader.look, [pid for each in inspected.values() if (pid := each["State"]["Pid"])])
    within = dict(there["containers"])
    addresses = {
        attached["IPAddress"]
        for each in inspected.values()
        for attached in each["NetworkSettings"]["Networks"].values()
    }
    return Facts(
        containers={
            name: _container(each, images[each["Image"]], within.get(each["State"]["Pid"]))
            for name, each in inspected.items()
        },
        networks=networks,
        machine_addresses=tuple(there["addresses"]),
        forwarders=frozenset((host, port) for inside, host, port in there["forwarders"] if inside in addresses),
        engine=client.api.version()["Version"],
    )


def _container(inspect: dict[str, Any], image: dict[str, Any], within: dict[str, Any] | None) -> ContainerFact:
    if within is None:
        return ContainerFact(inspect, image)
    return ContainerFact(
        inspect,
        image,
        processes=tuple(map(_process, within["processes"])),
        secrets={name: FileMode(*mode) for name, mode in within["secrets"].items()},
        config={name: FileMode(*mode) for name, mode in within["config"].items()},
        gateways=tuple(within["gateways"]),
        resolvers=tuple(within["resolvers"]),
    )


def _process(found: dict[str, Any]) -> Process:
    return Process(**{**found, "uids": frozenset(found["uids"]), "gids": frozenset(found["gids"])})
