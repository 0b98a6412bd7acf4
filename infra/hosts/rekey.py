"""The site's key is exchanged: a new one opens every server first, then it is ours, then the former one is put out.

Where it stands is told by the files beside the key, so that whatever broke it off, the next run goes on.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from infra import atomic, ssh
from infra.host import AUTOMATION
from infra.hosts import facts, mark, reach
from infra.hosts.reach import Link
from infra.site import Site
from infra.ssh import Server

WRITE = f"""
file=/home/{AUTOMATION}/.ssh/authorized_keys
install -m 0600 -o {AUTOMATION} -g {AUTOMATION} /dev/stdin "$file.partial"
mv "$file.partial" "$file"
"""
EXCHANGE = """
file=$(getent passwd "$1" | cut -d: -f6)/.ssh/authorized_keys
[ ! -f "$file" ] || sed -i "s|$2|$3|" "$file"
"""
"""For the user who let us in at first, in whose file the owner put the former key."""


@dataclass(frozen=True)
class Member:
    """A server of one of the site's stacks."""

    server: Server
    login: str
    """Who lets us in at first."""


def rotate(site: Site, members: Sequence[Member], say: Callable[[str], None]) -> str:
    """Exchange the site's key on all of its servers.

    Returns:
        The new key's public line.

    Raises:
        MaiaError: a server cannot be reached; the site's key opens all of them nevertheless, and the next run goes on.
    """
    if not site.former_key.with_suffix(".pub").exists():
        ssh.ensure_key(site.next_key)
        both = _public(site.key) + _public(site.next_key)
        for member in members:
            say(f"letting the new key in: {member.server.name}")
            with reach.linked(member.server) as link:
                _authorize(link, both)
            with reach.linked(dataclasses.replace(member.server, key=site.next_key)):
                pass  # it opens
        _keep(site.key, site.former_key)
    _move(site.next_key, site.key)
    line, former = _public(site.key), mark.word(site.former_key)
    for member in members:
        say(f"putting the former key out: {member.server.name}")
        with reach.linked(member.server) as link:
            _authorize(link, line)
            blobs = [_public(key).split()[1] for key in (site.former_key, site.key)]
            link.must(EXCHANGE, member.login, *blobs)
            found = facts.look(link).mark
            if found and found.site == former:
                dataclasses.replace(found, site=mark.word(site.key)).write(link)
    site.former_key.unlink(missing_ok=True)
    site.former_key.with_suffix(".pub").unlink()
    return line


def _public(key: Path) -> str:
    return key.with_suffix(".pub").read_text().strip() + "\n"


def _keep(key: Path, aside: Path) -> None:
    shutil.copy2(key, aside)
    # Last: with it the key counts as exchanged.
    atomic.write(aside.with_suffix(".pub"), key.with_suffix(".pub").read_bytes())


def _move(key: Path, place: Path) -> None:
    for each, to in ((key, place), (key.with_suffix(".pub"), place.with_suffix(".pub"))):
        if each.exists():
            os.replace(each, to)


def _authorize(link: Link, lines: str) -> None:
    link.must(WRITE, given=lines.encode())
