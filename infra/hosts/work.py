"""Roles on a server: carried out, looked for drift, taken back."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra import converge, specs, ssh
from infra.host import AUTOMATION
from infra.hosts import ADOPT, facts, mark, reach, taking
from infra.hosts.facts import Facts
from infra.hosts.lent import alone, lent
from infra.hosts.mark import Mark
from infra.hosts.reach import Link
from infra.hosts.voice import Voice
from infra.plan import Host, HostRole
from infra.plan.hosts import ORDER
from infra.site import Site

UNFINISHED = "its roles were not carried out to their end"
OTHERWISE = "other roles were carried out than these"
LEFT = "what stays there: the user maia with its key, installed packages, and data"


def content(role: str) -> str:
    """Hash of a role's files, and of those roles' that others call."""
    digest = hashlib.sha256()
    called = [path.name for path in converge.ROLES.iterdir() if path.is_dir() and path.name not in ORDER]
    for folder in (role, *sorted(called)):
        for path in sorted(path for path in (converge.ROLES / folder).rglob("*") if path.is_file()):
            name = path.relative_to(converge.ROLES)
            if not any(part.startswith(".") for part in name.parts) and path.suffix != ".pyc":
                digest.update(f"{name}\0{os.access(path, os.X_OK)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def fed(role: HostRole) -> str:
    """Hash of all that decides what a role does on a server."""
    variables = json.dumps(role.variables, sort_keys=True)
    return hashlib.sha256(f"{content(role.name)}\0{variables}".encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Order:
    """All that work on a server needs."""

    site: Site
    stack: str
    host: Host
    roles: Mapping[str, str]
    """Role to the hash of its files and variables."""
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def variables(self) -> dict[str, dict[str, Any]]:
        return {role.name: role.variables for role in self.host.roles}

    @property
    def hash(self) -> str:
        return hashlib.sha256(repr((sorted(self.roles.items()), self.host.kind)).encode()).hexdigest()[:16]

    @property
    def adopt(self) -> bool:
        return self.host.name in os.environ.get(ADOPT, "").split()

    def mark(self, *, whole: bool) -> Mark:
        return Mark(site=mark.word(self.site.key), stack=self.stack, host=self.host.name, roles=self.hash, whole=whole)


def carry_out(order: Order, voice: Voice) -> Facts:
    """Take the server over where it is not yet, and carry its roles out."""
    with taking.taken(order.site, order.stack, order.host, voice, adopt=order.adopt) as (link, found):
        facts.judge_room(found, order.host)
        with alone(link, who(order.site, order.stack)):
            facts.await_apt(link, found, voice.say)
            order.mark(whole=False).write(link)
            changed = _roles(order, link, voice)
            with reach.linked(link.server) as again:  # it still lets us in
                order.mark(whole=True).write(again)
        voice.note(f"{len(changed)} changes by {len(order.roles)} roles")
        return found


def drift(order: Order, voice: Voice, *, thorough: bool) -> tuple[Facts, list[str]] | None:
    """What is not as it was left, by looking only; None where nothing of ours is there.

    Args:
        thorough: every task of every role is looked at, beside what the server's mark says.
    """
    with taking.entered(order.site, order.stack, order.host, voice) as link:
        found = taking.inspected(link, order.site, order.stack, order.host, adopt=order.adopt)
        if found.mark is None or link.server.user != AUTOMATION:
            return None
        told = order.mark(whole=True)
        if found.mark != told:
            different = found.mark.roles != told.roles or found.mark.stack != told.stack
            return found, [OTHERWISE if different else UNFINISHED]
        if not thorough:
            voice.say("as it was left, by its mark: nothing that feeds its roles has changed")
            return found, []
        changed = look(order, link, voice)
        for task in changed:
            voice.note(f"drift: {task}")
        return found, changed


def look(order: Order, link: Link, voice: Voice, show: converge.Say | None = None) -> list[str]:
    """The tasks that would change something there."""
    with alone(link, who(order.site, order.stack)):
        return _roles(order, link, voice, check=True, show=show)


def undo(order: Order, gone: Sequence[str], voice: Voice) -> None:
    """Undo some of the roles, those that can be."""
    undone = {name: values for name, values in reversed(order.variables.items()) if name in gone and _removable(name)}
    if undone:
        with reach.linked(ssh.server(order.site, order.stack, order.host.name, order.host)) as link:
            with alone(link, who(order.site, order.stack)):
                _roles(order, link, voice, wanted=undone, entry="remove")


def take_back(order: Order, voice: Voice) -> None:
    """Undo the roles, the last one first, and leave the server to its owner."""
    with taking.entered(order.site, order.stack, order.host, voice) as link:
        found = facts.look(link)
        if found.mark is None or found.mark.stack != order.stack or found.mark.site not in mark.words(order.site):
            voice.note("nothing of this stack is there")
            return
        undone = {name: values for name, values in reversed(order.variables.items()) if _removable(name)}
        with alone(link, who(order.site, order.stack)):
            if undone:
                _roles(order, link, voice, wanted=undone, entry="remove")
            mark.erase(link)
    kept = [name for name in order.variables if name not in undone]
    voice.note(LEFT + (f"; and what these roles did: {', '.join(kept)}" if kept else ""))
    order.site.known(order.stack, order.host.name).unlink(missing_ok=True)


def _roles(
    order: Order,
    link: Link,
    voice: Voice,
    *,
    wanted: Mapping[str, Mapping[str, Any]] | None = None,
    check: bool = False,
    entry: str = "main",
    show: converge.Say | None = None,
) -> list[str]:
    with lent(order.secrets) as folder:
        return converge.roles(
            specs.replaced(order.variables if wanted is None else dict(wanted), lambda name: str(folder / name)),
            voice.say,
            on=link.server,
            kind=order.host.kind,
            check=check,
            entry=entry,
            show=show,
        )


def _removable(role: str) -> bool:
    return Path(converge.ROLES, role, "tasks", "remove.yml").exists()


def who(site: Site, stack: str) -> str:
    """What another run is told of this one."""
    return f"stack {stack} of the site {mark.word(site.key)} (pid {os.getpid()})"
