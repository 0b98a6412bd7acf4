"""What must be true of this machine before anything is changed.

``gather`` looks, ``judge`` decides (purely), ``check`` does both and raises the first problem.
"""

from __future__ import annotations

import errno
import os
import platform
import shutil
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Literal

from infra.catalog.postgres import MAJOR
from infra.errors import MaiaError
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

DockerState = Literal["answers", "absent", "refused", "down", "elsewhere"]


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


def check(plan: Plan, site: Site, say: Callable[[str], None], *, carries: bool = False) -> None:
    """Raise the first thing that stands in the way of ``up``; nothing has been changed then.

    Args:
        carries: data of an older Postgres will be carried over.
    """
    say("looking at this machine")
    refuse_elsewhere(plan)
    facts = gather(plan, site)
    if carries and facts.cluster and int(facts.cluster) < MAJOR:
        facts = replace(facts, cluster="")
    if facts.system[0] == "ubuntu":
        say("Ubuntu is supported as best we can; Debian 12 and 13 are what is tested")
    for problem in judge(plan, facts):
        raise problem


def refuse_elsewhere(plan: Plan) -> None:
    """Servers are prepared by their roles; the parts themselves run on this machine.

    Raises:
        MaiaError: they are to run on another one.
    """
    if plan.on:
        mend = "leave it out, and bring the parts up on that server by its own ./maia up; nothing changed yet"
        raise MaiaError("parts on another server are not there yet", where="maia:on", mend=mend)


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


def gather(plan: Plan, site: Site) -> Facts:
    """The facts of this machine."""
    state = docker_state()
    own_ports: set[int] = set()
    own_networks: set[str] = set()
    other_networks: list[tuple[str, str]] = []
    started = snapshotter = False
    docker_root, cluster = Path("/var/lib"), ""
    if state == "answers":
        import docker

        client = docker.from_env(timeout=30)
        info = client.info()
        docker_root = Path(info["DockerRootDir"])
        snapshotter = any(value == SNAPSHOTTER for _, value in info["DriverStatus"] or ())
        cluster = _cluster(plan, {volume.name: volume.attrs["Mountpoint"] for volume in client.volumes.list()})
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
    listed = {network for network, _ in other_networks} | own_networks
    routes = [(network, f"the interface {name}") for network, name in _routes() if network not in listed]
    return Facts(
        python=(sys.version_info[0], sys.version_info[1]),
        system=_system(),
        root=os.geteuid() == 0,
        apt=shutil.which("apt-get") is not None,
        disk={str(folder): _free(folder) for folder in dict.fromkeys((docker_root, cache(), site.root))},
        memory=_available(),
        docker=state,
        snapshotter=snapshotter,
        busy=tuple(
            (published.address, published.port)
            for container in plan.containers
            for published in container.published
            if published.port not in own_ports and _is_busy(published.address, published.port)
        ),
        taken=tuple(other_networks + routes),
        cluster=cluster,
        sockets=str(site.sockets(plan.stack) / "postgres" / ".s.PGSQL.5432"),
        started=started,
    )


def _cluster(plan: Plan, volumes: Mapping[str, str]) -> str:
    """What Postgres itself noted in its data, where there is any that we may read."""
    mounts = plan.container("postgres").mounts if plan.has("postgres") else ()
    noted = [Path(volumes.get(mount.volume, ""), "data", "PG_VERSION") for mount in mounts]
    return next((path.read_text().strip() for path in noted if os.access(path, os.R_OK)), "")


def docker_state(path: Path = SOCKET) -> DockerState:
    """Whether a Docker daemon answers at ``path``, or where DOCKER_HOST points, or why not."""
    host = os.environ.get("DOCKER_HOST", "")
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        try:
            client.connect(host.removeprefix("unix://") or str(path))
        except PermissionError:
            return "refused"
        except OSError:
            return "elsewhere" if host else "down" if shutil.which("dockerd") else "absent"
    return "answers"


def missing() -> list[str]:
    """Debian packages that this machine lacks; the engine of containers among them where it does not answer."""
    from infra.images import build

    wanted = [*build.requirements(), *(["docker.io"] if docker_state() != "answers" else [])]
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


def _system() -> tuple[str, str]:
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return ("", "")
    return (release.get("ID", ""), release.get("VERSION_ID", ""))


def _free(folder: Path) -> int:
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free // 2**20


def _available() -> int:
    with open("/proc/meminfo", encoding="ascii") as file:
        return next(int(line.split()[1]) // 1024 for line in file if line.startswith("MemAvailable:"))


def _is_busy(address: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what lingers from a closed connection is no owner
        try:
            probe.bind((address, port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def _routes() -> list[tuple[str, str]]:
    """Networks this machine has a route to, the default route apart, and their interfaces."""
    routes = []
    with open("/proc/net/route", encoding="ascii") as file:
        for line in file.readlines()[1:]:
            name, destination, *_, mask = line.split()[:8]
            network, bits = (int.from_bytes(bytes.fromhex(value), "little") for value in (destination, mask))
            if bits:
                routes.append(
                    (str(IPv4Network((str(IPv4Address(network)), str(IPv4Address(bits))), strict=False)), name)
                )
    return routes
