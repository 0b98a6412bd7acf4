"""What the servers of a plan are like: the facts of each, had in one trip over ssh."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from infra import ssh
from infra.errors import MaiaError
from infra.plan import Host, Plan
from infra.site import Site
from infra.ssh import Server

LOOK = Path(__file__).parent / "look"
MODULES = ("__init__", "means", "system", "network", "people", "tree", "answer")
"""In the order in which one needs another."""
PATIENCE = 120.0
"""Seconds within which a server must have answered."""
HERE = "local"
"""The name of this machine as a host."""
SUBJECT = "host"
"""What checks of servers are called by."""
DEBIAN = "cis-debian-"
START = """\
import json, sys, types
package = sys.modules["checks"] = types.ModuleType("checks")
package.__path__ = []
for name, source in SOURCES:
    module = sys.modules[name] = types.ModuleType(name)
    module.__path__ = []
    parent, _, child = name.rpartition(".")
    setattr(sys.modules[parent], child, module)
    exec(compile(source, name, "exec"), module.__dict__)
print(json.dumps(sys.modules["checks.look.answer"].answer(ASK)))
"""


@dataclass(frozen=True, kw_only=True)
class HostFacts:
    """A server as it was found."""

    name: str
    facts: Mapping[str, Any]
    """By section, as `checks.look` has them."""
    commands: Sequence[Mapping[str, Any]] = field(default=(), repr=False)
    """What was run there for it, with exit codes and answers."""

    def of(self, section: str) -> Any:
        """Raises:
        Unseen: it could not be looked at, and why.
        """
        found = self.facts[section]
        if isinstance(found, dict) and "error" in found:
            raise Unseen(f"{section} of {self.name} could not be looked at: {found['error']}")
        return found


class Unseen(Exception):
    """A fact that could not be had."""


def program(ask: Mapping[str, Iterable[str]]) -> str:
    """The text of the program that answers the question."""
    names = [f"checks.look.{name}".removesuffix(".__init__") for name in MODULES]
    sources = [(name, (LOOK / f"{module}.py").read_text()) for name, module in zip(names, MODULES)]
    asked = {key: sorted(set(values)) for key, values in ask.items()}
    return f"SOURCES = {sources!r}\nASK = {asked!r}\n{START}"


def look(name: str, server: Server | None, ask: Mapping[str, Iterable[str]]) -> HostFacts:
    """The facts of a server, or of this machine, as root sees them.

    Raises:
        MaiaError: it does not let us in, is not the one that was pinned, or has no sudo or Python for us.
    """
    try:
        done = subprocess.run(
            _command(server), input=program(ask), capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        raise MaiaError(f"no answer within {PATIENCE:g} s", where=f"server {name}", mend="look at its load") from None
    try:
        found = json.loads(done.stdout)
    except ValueError:
        raise _refusal(name, done.stderr) from None
    return HostFacts(name=name, facts=found["facts"], commands=found["commands"])


def look_all(
    servers: Mapping[str, Server | None], ask: Mapping[str, Iterable[str]]
) -> dict[str, HostFacts | MaiaError]:
    """The same of several, side by side; of one that cannot be looked at, why."""

    def each(name: str) -> HostFacts | MaiaError:
        try:
            return look(name, servers[name], ask)
        except MaiaError as error:
            return error

    with ThreadPoolExecutor(max(len(servers), 1)) as pool:
        return dict(zip(servers, pool.map(each, servers)))


def of_release(controls: Sequence[str], found: HostFacts | MaiaError) -> tuple[str, ...]:
    """The controls without those of another release of Debian than the server's."""
    version = found.facts["os"]["version"] if isinstance(found, HostFacts) else ""
    return tuple(each for each in controls if not each.startswith(DEBIAN) or each.startswith(f"{DEBIAN}{version}-"))


def here() -> Host:
    """This machine as a server that no role has prepared."""
    shared = Path("/run/systemd/container").exists() or Path("/.dockerenv").exists()
    kind: Literal["machine", "container"] = "container" if shared else "machine"
    return Host(name=HERE, address="localhost", port=22, login="root", kind=kind, secrets=(), roles=())


def servers(plan: Plan, site: Site) -> dict[str, Server | None]:
    """How each server of the plan is reached."""
    return {
        host.name: None if host.name == HERE else ssh.server(site, plan.stack, host.name, host) for host in plan.hosts
    }


def _command(server: Server | None) -> list[str]:
    if server is None:
        python = [sys.executable, "-I", "-"]
        return python if os.geteuid() == 0 else ["sudo", "-n", *python]
    return server.command(server.as_root("/usr/bin/python3", "-I", "-"))


def _refusal(name: str, said: str) -> MaiaError:
    """What went wrong on the way, with what mends it."""
    where = f"server {name}"
    last = " ".join(said.split())[-200:] or "nothing"
    for sign, what, mend in (
        ("verification failed", "has another host key than the pinned one", "look why before you pin it anew"),
        ("Permission denied", "does not let us in", "put the public key of the stack there"),
        ("a password is required", "sudo asks for a password", "allow the user all commands without one"),
        ("not in the sudoers", "the user may not use sudo", "allow the user all commands without a password"),
        ("python3: ", "has no Python", "apt-get install python3"),
    ):
        if sign in said:
            return MaiaError(what, where=where, mend=mend)
    return MaiaError(f"cannot be looked at, it said: {last}", where=where, mend="log in by hand and see")
