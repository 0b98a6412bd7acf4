"""What Linux says of processes and addresses, read once. Compares nothing.

Standard library only: it is carried out on servers too (`infra.place`).
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

PROC = Path("/proc")
HANDOVER = 3.0
"""Seconds within which the runtime hands over to the command it starts, on a busy machine."""
SECRETS = "run/secrets"
CONFIG = "etc/maia"

Process = dict[str, Any]


def look(pids: list[int]) -> dict[str, Any]:
    """What there is in the containers of these first processes, and around them."""
    processes = _lasting_processes()
    return {
        "containers": [(pid, found) for pid in pids if (found := _container(pid, processes))],
        "addresses": list(machine_addresses()),
        "forwarders": list(_forwarders(processes)),
    }


def _container(pid: int, processes: list[tuple[str, Process]]) -> dict[str, Any] | None:
    """None where it has gone meanwhile."""
    proc, root = PROC / str(pid), PROC / str(pid) / "root"
    try:
        namespace = os.readlink(proc / "ns/pid")
        return {
            "processes": [process for space, process in processes if space == namespace],
            "secrets": dict(_modes(root / SECRETS)),
            "config": dict(_modes(root / CONFIG)),
            "gateways": list(_gateways(proc)),
            "resolvers": [
                line.split()[1]
                for line in (root / "etc/resolv.conf").read_text().splitlines()
                if line.startswith("nameserver ")
            ],
        }
    except FileNotFoundError:
        return None


def _modes(folder: Path) -> Iterator[tuple[str, tuple[int, int, int]]]:
    for path in sorted(folder.rglob("*")):
        if not path.is_dir():
            found = path.lstat()
            yield str(path.relative_to(folder)), (found.st_mode & 0o7777, found.st_uid, found.st_gid)


def _gateways(proc: Path) -> Iterator[str]:
    for line in (proc / "net/route").read_text().splitlines()[1:]:
        _device, destination, gateway, _flags, _count, _use, _metric, mask, *_ = line.split()
        if int(destination, 16) == 0 and int(mask, 16) == 0:
            yield socket.inet_ntoa(struct.pack("<I", int(gateway, 16)))


def _lasting_processes() -> list[tuple[str, Process]]:
    """Those that outlast two looks, and are what they will be: a command that Docker starts in a container begins as
    its runtime, with all the runtime's powers, for a moment."""
    deadline = time.monotonic() + HANDOVER
    before = {process["pid"] for _, process in _processes()}
    while True:
        time.sleep(0.05)
        now = list(_processes())
        if time.monotonic() > deadline or not any(process["command"] == "runc init" for _, process in now):
            return [(space, process) for space, process in now if process["pid"] in before]
        before = {process["pid"] for _, process in now}


def _processes() -> Iterator[tuple[str, Process]]:
    for entry in PROC.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            namespace = os.readlink(entry / "ns/pid")
            status = dict(line.split(":\t", 1) for line in (entry / "status").read_text().splitlines() if ":\t" in line)
            yield (
                namespace,
                {
                    "pid": int(entry.name),
                    "parent": int(status["PPid"]),
                    "uids": [int(uid) for uid in status["Uid"].split()],
                    "gids": [int(gid) for gid in status["Gid"].split()],
                    "capabilities": int(status["CapEff"], 16) | int(status["CapPrm"], 16),
                    "no_new_privileges": status.get("NoNewPrivs") == "1",
                    "seccomp": int(status.get("Seccomp", "0")),
                    "command": _joined(entry / "cmdline"),
                    "environment": _joined(entry / "environ"),
                },
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


def _forwarders(processes: list[tuple[str, Process]]) -> Iterator[tuple[str, str, int]]:
    """Of each docker-proxy, the address of its container, and where it listens."""
    for _space, process in processes:
        words = process["command"].split()
        if words and words[0].endswith("docker-proxy"):
            options = dict(zip(words[1::2], words[2::2], strict=False))
            yield options.get("-container-ip", ""), options["-host-ip"], int(options["-host-port"])
