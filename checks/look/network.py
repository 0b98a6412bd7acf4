"""Who may speak to the server, and what it keeps of it."""

from __future__ import annotations

import json
import os
import socket
import struct
from pathlib import Path
from typing import Any

from checks.look.means import Ask, lines, read, run, settings


def sshd(ask: Ask) -> Any:
    found: dict[str, str] = {}
    for line in run("sshd", "-T").splitlines():
        name, _, value = line.partition(" ")
        found[name] = f"{found[name]} {value}" if name in found else value
    return found


def nft(ask: Ask) -> Any:
    said = run("nft", "-j", "list", "ruleset")
    return json.loads(said)["nftables"] if said else []


def listeners(ask: Ask) -> Any:
    """Sockets that others can speak to: protocol, address, port, program."""
    owners = {}
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            target = os.readlink(link)
            if target.startswith("socket:["):
                owners[target[8:-1]] = (link.parent.parent / "comm").read_text().strip()
        except OSError:
            continue
    found = []
    for table, state in (("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")):
        for line in read(f"/proc/net/{table}").splitlines()[1:]:
            words = line.split()
            if words[3] == state:
                digits, _, port = words[1].partition(":")
                packed = b"".join(struct.pack("=I", int(digits[i : i + 8], 16)) for i in range(0, len(digits), 8))
                address = socket.inet_ntop(socket.AF_INET6 if len(packed) == 16 else socket.AF_INET, packed)
                found.append([table[:3], address, int(port, 16), owners.get(words[9], "")])
    return sorted(found)


def audit(ask: Ask) -> Any:
    status = run("auditctl", "-s")
    return {
        "rules": [" ".join(line.split()) for line in lines("etc/audit/rules.d/*.rules")],
        "loaded": run("auditctl", "-l").splitlines(),
        "status": dict(line.split(" ", 1) for line in status.splitlines() if " " in line),
        "settings": settings("etc/audit/auditd.conf"),
        "boot": read("/proc/cmdline").split(),
    }


LOOKS = {"sshd": sshd, "nft": nft, "listeners": listeners, "audit": audit}
