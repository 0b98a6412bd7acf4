"""What must be true of this machine before anything is changed.

``gather`` looks, ``judge`` decides (purely), ``check`` does both and raises the first problem.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Network
from pathlib import Path

from infra import machine
from infra.catalog.postgres import MAJOR
from infra.errors import MaiaError
from infra.machine import DockerState
from infra.place import HERE, POSTGRES, Place
from infra.plan import Plan
from infra.site import Site, cache

DISK = 10 * 2**10
"""MiB that must be free before a stack's first start."""
MEMORY = 3 * 2**10
"""MiB that must be available before a stack's first start."""
PATH_MAX = 107
"""Bytes of the path of a Unix socket that Linux takes."""
PYTHON = (3, 11)
SYSTEMS = {("debian", "12"), ("debian", "13"), ("ubuntu", "24.04")}
SOCKET = Path("/var/run/docker.sock")
SNAPSHOTTER = "io.containerd.snapshotter.v1"
"""Docker's word for containerd's image store, where an image is known by its manifest, which only loading makes."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What matters of this machine."""

    python: tuple[int, int]
    system: tuple[str, str]
    """``ID`` and ``VERSION_ID`` of /etc/os-release."""
    root: bool
    apt: bool
    disk: dict[str, int]
    """Folder to MiB free."""
    memory: int
    """MiB available."""
    docker: DockerState
    snapshotter: bool = False
    """Whether Docker keeps images in containerd's store."""
    busy: tuple[tuple[str, int], ...] = ()
    """Published addresses and ports that something else listens on."""
    taken: tuple[tuple[str, str], ...] = ()
    """Networks of this machine that are not the stack's own, and what has them."""
    cluster: str = ""
    """The major version of Postgres that the data there is of."""
    sockets: str = ""
    """The longest path of a Unix socket of the data plane."""
    started: bool = False
    """Whether containers of the stack are there already, so that it needs no room for a first start."""


def check(plan: Plan, site: Site, say: Callable[[str], None], *, at: Place = HERE, carries: bool = False) -> None:
    """Raise the first thing that stands in the way of ``up``; nothing has been changed then.

    Args:
        at: where the parts are to run.
        carries: data of an older Postgres will be carried over.
    """
    say(f"looking at {at.name or 'this machine'}")
    facts = gather(plan, site, at)
    if carries and facts.cluster and int(facts.cluster) < MAJOR:
        facts = replace(facts, cluster="")
    if facts.system[0] == "ubuntu":
        say("Ubuntu is supported as best we can; Debian 12 and 13 are what is tested")
    for problem in judge(plan, facts):
        raise problem


def judge(plan: Plan, facts: Facts) -> list[MaiaError]:
    """Everything that stands in the way, the gravest first."""
    return [
        MaiaError(what, where=where, mend=f"{mend}; nothing changed yet")
        for what, where, mend in (
            *_platform(facts),
            *_site(facts),
            *_docker(facts),
            *_room(facts),
            *_network(plan, facts),
            *_data(facts),
        )
    ]


_Problems = list[tuple[str, str, str]]


def _platform(facts: Facts) -> _Problems:
    problems = []
    if facts.python < PYTHON:
        found, needed = (".".join(map(str, version)) for version in (facts.python, PYTHON))
        problems.append((f"Python {found} is too old", "python", f"install Python {needed} or newer"))
    if facts.system not in SYSTEMS:
        found = " ".join(facts.system).strip() or "an unknown system"
        problems.append((f"{found} is not supported", "/etc/os-release", "use Debian 12 or 13"))
    return problems


def _site(facts: Facts) -> _Problems:
    over = len(os.fsencode(facts.sockets)) - PATH_MAX
    if over <= 0:
        return []
    what = f"{facts.sockets} is longer than a socket's path may be"
    return [(what, "site folder", f"set MAIA_SITE to one whose path is at least {over} characters shorter")]


def _docker(facts: Facts) -> _Problems:
    if facts.docker == "elsewhere":
        return [("no Docker of this machine answers where it points", "DOCKER_HOST", "unset it, or start that Docker")]
    if facts.docker == "refused":
        return [("permission denied", str(SOCKET), "run it as root")]
    if not facts.root:
        what = "Docker is not installed, and installing it needs root" if facts.docker == "absent" else "root is needed"
        return [(what, "docker" if facts.docker == "absent" else "user", "run it as root: sudo ./maia up")]
    if facts.snapshotter:
        what = "Docker keeps images in containerd's store, under other ids than they are built with"
        mend = 'set "features": {"containerd-snapshotter": false} in /etc/docker/daemon.json, restart Docker'
        return [(what, "docker", mend)]
    if facts.docker == "absent" and not facts.apt:
        return [("Docker is not installed, and there is no apt-get to install it", "docker", "install Docker 20.10+")]
    return []


def _room(facts: Facts) -> _Problems:
    if facts.started:
        return []
    problems = [
        (f"{free / 1024:.1f} GB free, {DISK // 1024} GB are needed", folder, "free some disk space")
        for folder, free in facts.disk.items()
        if free < DISK
    ]
    if facts.memory < MEMORY:
        needed = f"{facts.memory / 1024:.1f} GB available, {MEMORY // 1024} GB are needed"
        problems.append((needed, "memory", "stop something, or use a larger machine"))
    return problems


def _network(plan: Plan, facts: Facts) -> _Problems:
    problems = [
        (
            f"port {port} is in use on {address}",
            f"maia:gateway.{_port_key(plan, port)}",
            "stop what listens there, or choose another port",
        )
        for address, port in facts.busy
    ]
    for network in plan.networks:
        for taken, owner in facts.taken:
            if IPv4Network(network.subnet).overlaps(IPv4Network(taken)):
                what = f"{network.subnet} overlaps {taken} of {owner}"
                problems.append((what, "maia:subnet", "choose another private /20"))
                return problems
    return problems


def _data(facts: Facts) -> _Problems:
    if facts.cluster in ("", str(MAJOR)):
        return []
    mend = "start it with the release that runs it, from which maia upgrade carries the data over"
    return [(f"the data is of Postgres {facts.cluster}, this release has {MAJOR}", "postgres", mend)]


def _port_key(plan: Plan, port: int) -> str:
    published = next(p for container in plan.containers for p in container.published if p.port == port)
    return "https" if published.target == 8443 else "http"


# -- looking ----------------------------------------------------------------------------------------------------------


def gather(plan: Plan, site: Site, at: Place = HERE) -> Facts:
    """The facts of this machine, or of the server that the parts are to run on."""
    state = docker_state() if not at.name else at.call(machine.docker_state, str(SOCKET))
    own_ports: set[int] = set()
    own_networks: set[str] = set()
    other_networks: list[tuple[str, str]] = []
    started = snapshotter = False
    docker_root, cluster = "/var/lib", ""
    if state == "answers":
        client = at.docker(30)
        info = client.info()
        docker_root = info["DockerRootDir"]
        snapshotter = any(value == SNAPSHOTTER for _, value in info["DriverStatus"] or ())
        cluster = _cluster(plan, {volume.name: volume.attrs["Mountpoint"] for volume in client.volumes.list()}, at)
        names = {network.name for network in plan.networks}
        for network in client.networks.list():
            subnets = [
                entry["Subnet"] for entry in network.attrs["IPAM"]["Config"] or () if "." in entry.get("Subnet", "")
            ]
            if network.name in names:
                own_networks.update(subnets)
            else:
                other_networks += [(subnet, f"the Docker network {network.name}") for subnet in subnets]
        for container in client.containers.list(ignore_removed=True, filters={"name": f"maia-{plan.stack}-"}):
            if container.name in {planned.name for planned in plan.containers}:
                started = True
                bindings = container.attrs["HostConfig"]["PortBindings"] or {}
                own_ports.update(int(b["HostPort"]) for bound in bindings.values() for b in bound)
    published = [(port.address, port.port) for container in plan.containers for port in container.published]
    free = [str(cache()), str(site.root)]
    there = at.call(
        machine.describe,
        list(dict.fromkeys((docker_root, *(free if not at.name else ())))),
        [(address, port) for address, port in published if port not in own_ports],
    )
    listed = {network for network, _ in other_networks} | own_networks
    routes = [(network, f"the interface {name}") for network, name in there["routes"] if network not in listed]
    disk = {f"{at.name}:{folder}" if at.name else folder: left for folder, left in there["disk"].items()}
    if at.name:  # images are built here
        disk |= machine.describe(free, [])["disk"]
    return Facts(
        python=tuple(there["python"]),
        system=tuple(there["system"]),
        root=there["root"],
        apt=there["apt"],
        disk=disk,
        memory=there["memory"],
        docker=state,
        snapshotter=snapshotter,
        busy=tuple((address, port) for address, port in there["busy"]),
        taken=tuple(other_networks + routes),
        cluster=cluster,
        sockets=str(at.home(site, plan.stack).sockets(plan.stack) / "postgres" / POSTGRES),
        started=started,
    )


def _cluster(plan: Plan, volumes: Mapping[str, str], at: Place) -> str:
    """What Postgres itself noted in its data, where there is any that we may read."""
    mounts = plan.container("postgres").mounts if plan.has("postgres") else ()
    return at.call(machine.first_line, *(f"{volumes.get(mount.volume, '')}/data/PG_VERSION" for mount in mounts))


def docker_state(path: Path = SOCKET) -> DockerState:
    """Whether a Docker daemon answers at ``path``, or where DOCKER_HOST points, or why not."""
    return machine.docker_state(str(path), os.environ.get("DOCKER_HOST", ""))


def missing(at: Place = HERE) -> list[str]:
    """Debian packages that this machine lacks; the engine of containers among them where it must answer and does not.

    Args:
        at: where the parts are to run.
    """
    from infra.images import build

    wanted = [*build.requirements(), *(["docker.io"] if not at.name and docker_state() != "answers" else [])]
    installed = _installed()
    return [name for name in wanted if name not in installed or name == "docker.io"]


def _installed() -> set[str]:
    """Names of the installed packages, from dpkg's own list."""
    names: set[str] = set()
    name = ""
    try:
        with open("/var/lib/dpkg/status", encoding="utf-8") as status:
            for line in status:
                if line.startswith("Package: "):
                    name = line[9:].strip()
                elif line.startswith("Status: install ok installed"):
                    names.add(name)
    except FileNotFoundError:
        pass
    return names
