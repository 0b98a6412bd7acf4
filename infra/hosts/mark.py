"""Whose a server is: written down on it, so that no other stack takes it by mistake."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from infra.errors import MaiaError
from infra.hosts.reach import Link
from infra.plan import Host
from infra.site import Site

FILE = "/etc/maia/host.json"


@dataclass(frozen=True, kw_only=True)
class Mark:
    site: str
    """A word for the site's key."""
    stack: str
    host: str
    roles: str
    """Hash of what was carried out there."""
    whole: bool
    """Whether it was carried out to its end."""

    def write(self, link: Link) -> None:
        text = json.dumps(asdict(self), indent=2) + "\n"
        script = f"mkdir -p {FILE.rpartition('/')[0]}; cat >{FILE}.partial; mv {FILE}.partial {FILE}"
        link.must(script, given=text.encode())


def word(key: Path) -> str:
    """A short word by which marks tell sites apart, each by its key."""
    return hashlib.sha256(key.with_suffix(".pub").read_bytes()).hexdigest()[:12]


def words(site: Site) -> list[str]:
    """The site's word; while its key is exchanged, the former one after it."""
    return [word(key) for key in (site.key, site.former_key) if key.with_suffix(".pub").exists()]


def refuse_other(mark: Mark | None, site: Site, stack: str, host: Host, *, adopt: bool) -> None:
    """Raise where the server belongs to another stack, unless it is to be adopted."""
    ours = words(site)
    if mark is None or adopt or (mark.site in ours and (mark.stack, mark.host) == (stack, host.name)):
        return
    elsewhere = "" if mark.site in ours else f" of the site {mark.site}"
    raise MaiaError(
        f"is the host {mark.host} of the stack {mark.stack}{elsewhere}",
        where=f"host {host.name}",
        mend=f"if it is to change hands: maia up --adopt {host.name}",
    )


def erase(link: Link) -> None:
    """The server is nobody's."""
    link.root(f"rm -f {FILE}; rmdir --ignore-fail-on-non-empty {FILE.rpartition('/')[0]}")
