"""Postgres's own pg_dump, of the appliance's version, on a server outside: in a container for this one run."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import docker
from docker.errors import ContainerError

from app.migrate.refused import Refused
from app.migrate.source import Source

PLACE = Path("/dev/shm")
"""In memory: the file with the password is never written to a disk."""
PASSWORD = "/run/source/password"  # noqa: S105 - its place
ROOTS = "/run/source/roots.pem"
WRITTEN = "/run/source/dump.sql"
OWNER = 701


def of(image: str) -> Callable[[Source, Sequence[str]], str]:
    """A pg_dump from this image.

    It has the machine's network, as the migration itself has; nothing else of the machine but two files.
    """

    def dump(source: Source, words: Sequence[str]) -> str:
        with tempfile.TemporaryDirectory(dir=PLACE, prefix="maia-") as folder:
            given = _written(Path(folder), source)
            try:
                docker.from_env(timeout=None).containers.run(  # type: ignore[arg-type]  # it may take long
                    image,
                    # Into a file: what comes through Docker's log is cut short when the container ends early.
                    [*words, f"--file={WRITTEN}", "--dbname", source.conninfo(passfile=PASSWORD, **given)],
                    entrypoint=["pg_dump"],
                    user=f"{OWNER}:{OWNER}",
                    network_mode="host",
                    read_only=True,
                    cap_drop=["ALL"],
                    security_opt=["no-new-privileges:true"],
                    pids_limit=16,
                    volumes=[f"{folder}:{Path(PASSWORD).parent}", *_sockets(source)],
                    remove=True,
                )
            except ContainerError as error:
                lines = [line for line in _text(error).splitlines() if "error:" in line]
                raise Refused(" ".join(lines[-2:]) or "ended without a word", "pg_dump", source.name) from None
            return (Path(folder) / Path(WRITTEN).name).read_text()

    return dump


def _sockets(source: Source) -> list[str]:
    """The folder of its socket, of a source that is reached by one."""
    host = source.words["host"]
    return [f"{host}:{host}"] if host.startswith("/") else []


def _text(error: ContainerError) -> str:
    told = error.stderr or b""
    return told if isinstance(told, str) else told.decode(errors="replace")


def _written(folder: Path, source: Source) -> dict[str, str]:
    """What the program reads besides its words."""
    escaped = source.password.replace("\\", "\\\\").replace(":", "\\:")
    files = {Path(PASSWORD).name: f"*:*:*:*:{escaped}\n".encode()}
    given = {}
    if roots := source.words.get("sslrootcert"):
        files[Path(ROOTS).name] = Path(roots).read_bytes()
        given["sslrootcert"] = ROOTS
    for name, content in files.items():
        with os.fdopen(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            os.fchown(file.fileno(), OWNER, OWNER)
    os.chown(folder, OWNER, OWNER)
    return given
