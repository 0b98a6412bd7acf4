"""A server's packages are brought to what its mirror has today, and it is restarted where something wants that."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from infra import remedy, ssh
from infra.errors import MaiaError
from infra.hosts import facts, mark, reach, work
from infra.hosts.lent import alone
from infra.hosts.reach import Link
from infra.plan import Host
from infra.stack import Stack

Say = Callable[[str], None]

INSTALLING = 3600.0
"""Seconds that packages may take."""
RESTARTING = 900.0
"""Seconds within which a server is back."""
INTERVAL = 2.0
SCRIPT = """
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
wait=-oDPkg::Lock::Timeout=120
apt-get -q "$wait" update >&2
apt-get -q -y "$wait" -oDpkg::Options::=--force-confdef -oDpkg::Options::=--force-confold upgrade --with-new-pkgs
"""
"""Settings that were changed there stay as they are: roles see to them."""
COUNTS = re.compile(r"^(\d+) upgraded, (\d+) newly installed, \d+ to remove and (\d+) not upgraded", re.MULTILINE)
WANTED = """
list=/usr/local/sbin/maia-reboot-wanted
if [ -x "$list" ]; then "$list" || true; elif [ -e /run/reboot-required ]; then echo package unknown; fi
"""
BOOT = "cat /proc/sys/kernel/random/boot_id"


@dataclass(frozen=True, kw_only=True)
class Renewed:
    """What became of a server's packages."""

    upgraded: int
    new: int
    held: int
    """Packages that wait: they are held, or would remove others."""
    wants: tuple[str, ...]
    """What a restart is wanted for."""
    restarted: bool


def renew(stack: Stack, host: Host, say: Say, *, restart: bool) -> Renewed:
    """Upgrade the packages of one server; with ``restart``, restart it if something wants it, and await it.

    Raises:
        MaiaError: it is not the stack's, another run works on it, its packages cannot be had, or it does not come back.
    """
    server = ssh.server(stack.site, stack.name, host.name, host)
    with reach.linked(server) as link:
        found = facts.look(link)
        if found.mark is None:
            raise MaiaError("was not taken over yet", where=f"host {host.name}", mend=f"maia up --stack {stack.name}")
        mark.refuse_other(found.mark, stack.site, stack.name, host, adopt=False)
        with alone(link, work.who(stack.site, stack.name)):
            facts.await_apt(link, found, say)
            say("upgrading packages")
            upgraded, new, held = _upgrade(link, host)
            wants = tuple(link.root(WANTED, timeout=INSTALLING).out.splitlines())
        again = restart and bool(wants) and host.kind == "machine"
        if again:
            boot = link.run(BOOT).out
            say("restarting it")
            link.root("systemctl --no-block reboot")
    if again:
        _await(server, host, boot, say)
    return Renewed(upgraded=upgraded, new=new, held=held, wants=wants, restarted=again)


def _upgrade(link: Link, host: Host) -> tuple[int, ...]:
    counts = COUNTS.search(link.must(SCRIPT, timeout=INSTALLING))
    if not counts:
        raise MaiaError("apt ended without a word", where=f"host {host.name}", mend=remedy.AGAIN)
    return tuple(int(count) for count in counts.groups())


def _await(server: ssh.Server, host: Host, boot: str, say: Say) -> None:
    deadline = time.monotonic() + RESTARTING
    while time.monotonic() < deadline:
        say("waiting for it to come back")
        try:
            with reach.linked(server) as link:
                if link.run(BOOT).out not in ("", boot):
                    return
        except MaiaError:  # it is going down, or coming up
            pass
        time.sleep(INTERVAL)
    mend = "look at its console"
    raise MaiaError(f"is not back after {RESTARTING:g} s", where=f"host {host.name}", mend=mend)
