"""What the copy is measured against, from Debian's packages, in a container of their own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import docker
from docker.models.containers import Container

from infra.lab import root
from infra.lab.root import Root

PROGRAMS = "/usr/lib/postgresql/17/bin"
OWNER = 701
ROOT = Root(
    name="others",
    suite="trixie",
    packages=("pgcopydb", "postgresql-client-17"),
    hooks=(f'chroot "$1" useradd --uid {OWNER} --user-group postgres-client',),
)
"""Debian 13, whose client programs are of the appliance's version."""
WORK = "/work"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Others:
    """The programs, beside the servers that they move between."""

    container: Container

    def run(self, script: str) -> None:
        """A shell script; what stays in its work folder is removed before it."""
        whole = f"set -eu; export PATH={PROGRAMS}:$PATH; rm -rf {WORK}/*; {script}"
        code, said = self._execute("sh", "-c", whole)
        if code:
            raise SystemExit(f"{script}\n{said[-3000:]}")

    def version(self, program: str) -> str:
        _, said = self._execute(program, "--version")
        found = re.search(r"(?:version|\(PostgreSQL\)) (\d[.\d]*)", said)
        assert found, said
        return f"{program} {found[1]}"

    def _execute(self, *words: str) -> tuple[int | None, str]:
        code, said = self.container.exec_run(list(words), user=f"{OWNER}:{OWNER}")
        assert isinstance(said, bytes)
        return code, said.decode(errors="replace")


@contextmanager
def others(name: str, network: str, sockets: Path, say: Say) -> Iterator[Others]:
    """Start them; the target's socket lies in ``sockets``, and ``/work`` is a volume on the disk."""
    client = docker.from_env()
    image = root.ensure(client, ROOT, say)
    for left in client.containers.list(all=True, filters={"name": f"^{name}$"}):
        left.remove(force=True, v=True)
    started = client.containers.run(
        image,
        ["sleep", "infinity"],
        detach=True,
        init=True,
        name=name,
        network=network,
        volumes=[WORK, f"{sockets}:/run/postgresql"],
        shm_size="256m",
    )
    try:
        started.exec_run(["chown", f"{OWNER}:{OWNER}", WORK])
        yield Others(started)
    finally:
        started.remove(force=True, v=True)
