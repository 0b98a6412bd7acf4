"""What a machine says of itself. Reads only.

Standard library only: it is carried out on servers too (`infra.place`).
"""

from __future__ import annotations

import errno
import os
import platform
import shutil
import socket
import struct
import sys
import time
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any, Literal

DockerState = Literal["answers", "absent", "refused", "down", "elsewhere"]
ESTABLISHED = "01"
INTERVAL = 0.1


def size() -> tuple[int, int]:
    """Its memory in MiB, and its processors."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20, len(os.sched_getaffinity(0))


def describe(folders: list[str], ports: list[tuple[str, int]]) -> dict[str, Any]:
    """What matters of it before anything is changed.

    Args:
        folders: whose free space is asked for; the nearest above one that is not there yet.
        ports: addresses and ports that something may listen on.
    """
    return {
        "python": sys.version_info[:2],
        "system": _system(),
        "root": os.geteuid() == 0,
        "apt": shutil.which("apt-get") is not None,
        "disk": {folder: free(folder) for folder in folders},
        "memory": _available(),
        "busy": [(address, port) for address, port in ports if _is_busy(address, port)],
        "routes": _routes(),
    }


def listens(path: str) -> bool:
    """Whether anybody answers at a unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return False
    return True


def docker_state(path: str, host: str = "") -> DockerState:
    """Whether a Docker daemon answers at ``path``, or where ``host`` points, or why not."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        try:
            client.connect(host.removeprefix("unix://") or path)
        except PermissionError:
            return "refused"
        except OSError:
            return "elsewhere" if host else "down" if shutil.which("dockerd") else "absent"
    return "answers"


def first_line(*paths: str) -> str:
    """Of the first of these files that we may read; empty where there is none."""
    for path in paths:
        if os.access(path, os.R_OK):
            return Path(path).read_text().partition("\n")[0].strip()
    return ""


def await_quiet(pid: int, address: str, port: int, seconds: float) -> None:
    """Wait until nothing in the network of process ``pid`` has a connection to an address, or it took too long."""
    (number,) = struct.unpack("<I", socket.inet_aton(address))
    table, remote = Path(f"/proc/{pid}/net/tcp"), f"{number:08X}:{port:04X}"
    deadline = time.monotonic() + seconds
    with suppress(FileNotFoundError):
        while time.monotonic() < deadline:
            lines = [line.split() for line in table.read_text().splitlines()[1:]]
            if not any(line[2:4] == [remote, ESTABLISHED] for line in lines):
                return
            time.sleep(INTERVAL)


def free(folder: str) -> int:
    """MiB that a folder has room for; the nearest above one that is not there yet."""
    path = Path(folder)
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free // 2**20


def is_folder(path: str) -> bool:
    return os.path.isdir(path)


def writable(folder: str) -> bool:
    """Whether a folder is there and takes files."""
    return os.path.isdir(folder) and os.access(folder, os.W_OK)


def same_disk(one: str, other: str) -> bool:
    """Whether both folders are there, and on one file system."""
    return os.path.exists(one) and os.path.exists(other) and os.stat(one).st_dev == os.stat(other).st_dev


def _system() -> tuple[str, str]:
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return ("", "")
    return (release.get("ID", ""), release.get("VERSION_ID", ""))


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
    """Networks it has a route to, the default route apart, and their interfaces."""
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
