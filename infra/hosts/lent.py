"""What one run has of a server for as long as it works there: the server to itself, and secrets in its memory."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from infra.errors import MaiaError
from infra.hosts.reach import Link
from infra.specs import SECRETS

LOCK = "/run/maia.lock"
HELD = "held"
HOLD = f"""
exec 9>>{LOCK}
flock --nonblock 9 || {{ cat {LOCK}; exit; }}
trap 'rm -rf {SECRETS}' EXIT
rm -rf {SECRETS}
echo "$1" >{LOCK}
echo {HELD}
cat >/dev/null
"""
"""Lets go, and forgets, when its input ends: with the connection, however that ends."""
PUT = f"""
[ "$(stat --file-system --format %T /run)" = tmpfs ]
install -d -m 0755 {SECRETS.rpartition("/")[0]}
install -d -m 0700 {SECRETS}
tar -C {SECRETS} -xf -
"""


@contextmanager
def lent(link: Link, who: str, secrets: Mapping[str, str]) -> Iterator[None]:
    """Be the only run that works on the server, with ``secrets`` in files of its memory that only root can read.

    Raises:
        MaiaError: another run works on it; with which.
    """
    where = f"host {link.server.name}"
    first = link.hold(HOLD, who)
    if first != HELD:
        raise MaiaError(f"held by {first or 'another run'}", where=where, mend="wait for it to end")
    if secrets and (answer := link.root(PUT, _archive(secrets))).code:
        what = " ".join(answer.error.split()) or "its /run is not in memory"
        raise MaiaError(f"it cannot be lent secrets: {what}", where=where, mend="mount a tmpfs there")
    try:
        yield
    finally:
        link.release()


def _archive(secrets: Mapping[str, str]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, value in secrets.items():
            member = tarfile.TarInfo(name)
            member.mode, member.size = 0o400, len(value.encode())
            tar.addfile(member, io.BytesIO(value.encode()))
    return out.getvalue()
