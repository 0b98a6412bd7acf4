"""A server is taken over: let in by its owner's user once, the appliance has one of its own there from then on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from infra import ssh
from infra.host import AUTOMATION
from infra.hosts import facts, mark, reach
from infra.hosts.facts import Facts
from infra.hosts.reach import Link, Unwelcome
from infra.hosts.voice import Voice
from infra.plan import Host
from infra.site import Site

INSTALLING = 900.0
"""Seconds that installing Python may take."""
SCRIPT = f"""
missing=
[ -x /usr/bin/python3 ] || missing="python3"
[ -x /usr/bin/sudo ] || missing="$missing sudo"
if [ -n "$missing" ]; then
  export DEBIAN_FRONTEND=noninteractive
  apt-get -q -o DPkg::Lock::Timeout=120 update >&2
  apt-get -q -y -o DPkg::Lock::Timeout=120 install --no-install-recommends $missing >&2
fi
id -u {AUTOMATION} >/dev/null 2>&1 || useradd --system --create-home --home-dir /home/{AUTOMATION} \
  --shell /bin/bash --comment 'MAIA Sovereign' {AUTOMATION}
usermod --password '*' {AUTOMATION}
install -d -m 0700 -o {AUTOMATION} -g {AUTOMATION} /home/{AUTOMATION}/.ssh
install -m 0600 -o {AUTOMATION} -g {AUTOMATION} /dev/stdin /home/{AUTOMATION}/.ssh/authorized_keys
echo '{AUTOMATION} ALL=(ALL:ALL) NOPASSWD: ALL' >/etc/sudoers.d/.{AUTOMATION}
chmod 0440 /etc/sudoers.d/.{AUTOMATION}
visudo -cqf /etc/sudoers.d/.{AUTOMATION}
mv /etc/sudoers.d/.{AUTOMATION} /etc/sudoers.d/{AUTOMATION}
"""
DOCKER = f"""
getent group docker >/dev/null || groupadd --system docker
usermod --append --groups docker {AUTOMATION}
"""


@contextmanager
def entered(site: Site, stack: str, host: Host, voice: Voice) -> Iterator[Link]:
    """A connection as the appliance's own user, or else as the one who lets us in at first.

    On first contact the other way about: a server may shut out for a while who tries what it refuses.
    """
    own = ssh.server(site, stack, host.name, host)
    other = dataclasses.replace(own, user=host.login)
    likely, else_ = (own, other) if own.known.exists() else (other, own)
    with ExitStack() as open_:
        try:
            link = open_.enter_context(reach.linked(likely))
        except Unwelcome as refused:
            voice.say(f"{likely.user} is not let in: entering as {else_.user}")
            try:
                link = open_.enter_context(reach.linked(else_))
            except Unwelcome as again:
                raise (again if else_ is other else refused) from None
        if link.pinned:
            voice.note(f"first contact: its key is pinned, {link.pinned}")
        yield link


@contextmanager
def taken(site: Site, stack: str, host: Host, voice: Voice, *, adopt: bool = False) -> Iterator[tuple[Link, Facts]]:
    """A connection to the server as the appliance's own user there, who is made where he is missing.

    Args:
        adopt: even where the server belongs to another stack.

    Raises:
        MaiaError: it cannot be reached or entered, or is not what it must be; nothing was changed then.
    """
    with entered(site, stack, host, voice) as link:
        found = inspected(link, site, stack, host, adopt=adopt)
        if link.server.user == AUTOMATION and found.python:
            yield link, found
            return
        _begin(link, host, found, voice)
    with reach.linked(ssh.server(site, stack, host.name, host)) as link:
        yield link, inspected(link, site, stack, host, adopt=adopt)


def inspected(link: Link, site: Site, stack: str, host: Host, *, adopt: bool) -> Facts:
    """The server's facts, where they let us work on it."""
    found = facts.look(link)
    for problem in facts.judge(found, host):
        raise problem
    mark.refuse_other(found.mark, site, stack, host, adopt=adopt)
    return found


def _begin(link: Link, host: Host, found: Facts, voice: Voice) -> None:
    facts.judge_room(found, host)
    facts.await_apt(link, found, voice.say)
    voice.say(f"making the user {AUTOMATION}" + ("" if found.python else ", and installing Python"))
    key = link.server.key.with_suffix(".pub").read_bytes() + b"\n"
    script = SCRIPT + (DOCKER if any(role.name == "docker" for role in host.roles) else "")
    link.must(script, given=key, timeout=INSTALLING)
