"""What a server is: looked at in one trip, and judged before anything is changed on it."""

from __future__ import annotations

import base64
import json
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass

from infra.errors import MaiaError
from infra.hosts.mark import FILE, Mark
from infra.hosts.reach import Link
from infra.plan import Host

SYSTEMS = {("debian", "12"), ("debian", "13")}
ROOM = 1024
"""MiB that must be free where roles write."""
LOCKED = 120.0
"""Seconds to wait for whoever installs packages."""
ENTER = 'exec 2>/dev/null; [ "$(id -u)" = 0 ] || { sudo -n sh -c "$1" && exit; }; sh -c "$1"'
"""Becomes root once, where it may: a busy server takes its time for each sudo."""
SCRIPT = rf"""
. /etc/os-release
echo "id=$ID"
echo "version=$VERSION_ID"
echo "user=$(id -u)"
echo "python=$(/usr/bin/python3 -IS -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
echo "kernel=$(uname -r)"
echo "virtualisation=$(systemd-detect-virt)"
echo "container=$(systemd-detect-virt --container)"
echo "threads=$(cat /proc/2/comm)"
echo "machine=$(cat /etc/machine-id)"
df -Pm / /var /var/cache/apt/archives /tmp | while read -r _ _ _ free _ where; do echo "free=$free $where"; done
for lock in /var/lib/dpkg/lock-frontend /var/lib/dpkg/lock /var/lib/apt/lists/lock; do
  inode=$(stat -c %i "$lock") && while read -r _ _ _ _ pid file _; do
    [ "${{file##*:}}" = "$inode" ] && echo "apt=$pid $(cat "/proc/$pid/comm")"
  done </proc/locks
done
echo "mark=$(base64 -w0 {FILE})"
"""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What matters of a server."""

    system: tuple[str, str]
    """``ID`` and ``VERSION_ID`` of /etc/os-release."""
    root: bool
    """Whether we are, or become root without a password."""
    python: str
    """Its version; empty where there is none."""
    kernel: str
    virtualisation: str
    container: bool
    """Whether it says that it shares its kernel."""
    threads: bool
    """Whether a kernel of its own shows its threads."""
    machine: str
    """Its id."""
    free: tuple[tuple[int, str], ...]
    """MiB, and where."""
    apt: str
    """Who installs packages right now."""
    mark: Mark | None


def look(link: Link) -> Facts:
    """The facts, in one trip."""
    said: dict[str, list[str]] = {}
    for line in link.run(shlex.join(("sh", "-c", ENTER, "sh", SCRIPT))).out.splitlines():
        key, _, value = line.partition("=")
        said.setdefault(key, []).append(value.strip())

    def first(key: str) -> str:
        return said.get(key, [""])[0]

    free = [value.split(" ", 1) for value in said.get("free", ())]
    return Facts(
        system=(first("id"), first("version")),
        root=first("user") == "0",
        python=first("python"),
        kernel=first("kernel"),
        virtualisation=first("virtualisation"),
        container=first("container") not in ("", "none"),
        threads=first("threads") == "kthreadd",
        machine=first("machine"),
        free=tuple((int(mib), where) for mib, where in free if mib.isdigit()),
        apt=first("apt"),
        mark=_mark(first("mark")),
    )


def _mark(text: str) -> Mark | None:
    try:
        return Mark(**json.loads(base64.b64decode(text))) if text else None
    except (ValueError, TypeError):
        return Mark(site="an unknown site", stack="?", host="?", roles="", whole=False)


def judge(facts: Facts, host: Host) -> list[MaiaError]:
    """What stands in the way of working on it at all, the gravest first."""
    where, key = f"host {host.name}", f"maia:hosts.{host.name}.kernel"
    problems = []
    if facts.system not in SYSTEMS:
        found = " ".join(facts.system).strip() or "an unknown system"
        problems.append(MaiaError(f"{found} is not supported", where=where, mend="use Debian 12 or 13"))
    if not facts.root:
        mend = "let that user become root by sudo without a password, or name another one in its login"
        problems.append(MaiaError("the user that logs in does not become root", where=where, mend=mend))
    elif host.kind == "machine" and facts.container:
        what = f"shares its kernel ({facts.virtualisation}), and the stack file says own"
        problems.append(MaiaError(what, where=key, mend="say kernel: shared there"))
    elif host.kind == "machine" and not facts.threads:
        what = "says that its kernel is its own, and shows none of a kernel's threads"
        problems.append(MaiaError(what, where=key, mend="say kernel: shared there, if it is a container"))
    elif host.kind == "container" and facts.threads:
        what = "has a kernel of its own, and the stack file says shared"
        problems.append(MaiaError(what, where=key, mend="say kernel: own there"))
    return problems


def judge_room(facts: Facts, host: Host) -> None:
    """Raise where there is too little room for roles to be carried out."""
    for free, place in facts.free:
        if free < ROOM:
            what = f"{free} MiB free in {place}, {ROOM} are needed"
            raise MaiaError(what, where=f"host {host.name}", mend="free some disk space there")


def await_apt(link: Link, facts: Facts, say: Callable[[str], None]) -> None:
    """Wait until nobody else installs packages there.

    Raises:
        MaiaError: somebody does for too long; with who.
    """
    deadline = time.monotonic() + LOCKED
    while facts.apt:
        pid, _, name = facts.apt.partition(" ")
        if time.monotonic() > deadline:
            what = f"apt is held by {name or 'a process'} (pid {pid}) for more than {LOCKED:g} s"
            raise MaiaError(what, where=f"host {link.server.name}", mend="wait for it to end, or stop it")
        say(f"waiting for {name or 'a process'} (pid {pid}), which installs packages")
        time.sleep(1)
        facts = look(link)
