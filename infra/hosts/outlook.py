"""How the servers of a stack are, in a word each."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from infra import ssh
from infra.errors import MaiaError
from infra.hosts import facts, mark, reach
from infra.plan import Host
from infra.stack import Stack

STOPPING = 300.0
"""Seconds that containers have to end."""
LIST = """
! command -v docker >/dev/null || docker ps --filter label=maia.stack="$1" --format '{{.Names}}'
"""
MEND = "look at its Docker"


@dataclass(frozen=True, kw_only=True)
class State:
    told: str
    system: str
    well: bool


def of(stack: Stack) -> list[tuple[Host, State]]:
    """Every server, asked side by side."""
    with ThreadPoolExecutor(8) as pool:
        return list(zip(stack.plan.hosts, pool.map(lambda host: _state(stack, host), stack.plan.hosts)))


def _state(stack: Stack, host: Host) -> State:
    server = ssh.server(stack.site, stack.name, host.name, host)
    if not server.known.exists():
        return State(told="not met yet", system="", well=False)
    try:
        with reach.linked(server) as link:
            found = facts.look(link)
        system = " ".join(found.system)
        mark.refuse_other(found.mark, stack.site, stack.name, host, adopt=False)
    except MaiaError as error:
        return State(told=error.what, system="", well=False)
    if found.mark is None:
        return State(told="not taken over", system=system, well=False)
    told = "prepared" if found.mark.whole else "its roles were not carried out to their end"
    return State(told=told, system=system, well=found.mark.whole)


def drain(stack: Stack, host: Host, say: Callable[[str], None]) -> list[str]:
    """Stop the stack's containers there; returns their names."""
    with reach.linked(ssh.server(stack.site, stack.name, host.name, host)) as link:
        names = link.must(LIST, stack.name, mend=MEND).split()
        for name in names:
            say(f"stopping {name}")
            link.must('docker stop "$1"', name, timeout=STOPPING, mend=MEND)
    return names
