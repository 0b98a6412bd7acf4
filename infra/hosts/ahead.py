"""What the roles of a server would do, found out by looking only."""

from __future__ import annotations

from collections.abc import Mapping

from infra.converge import Say
from infra.hosts import mark, taking, work
from infra.hosts.voice import Voice
from infra.hosts.work import Order
from infra.plan import Host
from infra.stack import Stack

MOST = 200
"""Lines of one server's differences that are shown."""


def told(stack: Stack, host: Host, secrets: Mapping[str, str], say: Say) -> list[str]:
    """The tasks that would change something there, and the differences of files, as lines."""
    notes: list[str] = []
    lines: list[str] = []
    order = Order(
        site=stack.site,
        stack=stack.name,
        host=host,
        roles={},
        secrets={name: secrets[name] for name in host.secrets if name in secrets},
    )
    voice = Voice(say=say, note=lambda text: notes.append(f"host {host.name}: {text}"))
    with taking.entered(stack.site, stack.name, host, voice) as link:
        found = taking.inspected(link, stack.site, stack.name, host, adopt=True)
        if not found.python:
            return [*notes, f"host {host.name}: Python would be installed, then its roles be carried out"]
        changed = work.look(order, link, voice, lines.append)
    if found.mark is None:
        notes.append(f"host {host.name}: would be taken over")
    elif found.mark.site not in mark.words(stack.site) or found.mark.stack != stack.name:
        notes.append(f"host {host.name}: belongs to the stack {found.mark.stack}")
    more = [f"… and {len(lines) - MOST} lines more"] if len(lines) > MOST else []
    return [*notes, *(f"host {host.name}: {task}" for task in changed), *lines[:MOST], *more]
