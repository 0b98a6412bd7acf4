"""The project as a running server: made, connected to, and described in a file as `maia migrate` reads it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from tests import postgres
from tests.supabase import tables

HOME = Path(__file__).parent
DATABASE = "project"
PASSWORD = "of the project's owner"
SETTINGS = """
listen_addresses = '*'
wal_level = logical
max_connections = 60
"""
ACCESS = "host all all all scram-sha-256\n"
PLATFORM = "supabase_admin"
"""The superuser, whom the project's owner never is."""
VECTORS = "extensions"


@dataclass(frozen=True)
class Project:
    """One that runs."""

    server: postgres.Server
    file: Path
    """Where the source is described."""
    database: str = DATABASE

    def owner(self, **options: Any) -> psycopg.Connection[tuple[Any, ...]]:
        """As the owner of the project, over the network."""
        return psycopg.connect(self.file.read_text().strip(), autocommit=True, **options)

    def platform(self, database: str = "") -> psycopg.Connection[tuple[Any, ...]]:
        """As the platform's superuser."""
        return psycopg.connect(
            host=self.server.socket, user=PLATFORM, dbname=database or self.database, autocommit=True
        )

    def describe(self, file: Path, **changed: Any) -> Path:
        """A file that describes it, with something changed."""
        given = psycopg.conninfo.conninfo_to_dict(self.file.read_text().strip()) | changed
        file.touch(mode=0o600)
        file.write_text(psycopg.conninfo.make_conninfo("", **given))
        return file


@contextmanager
def project(folder: Path, name: str, *, rows: int = 30, vectors: str = VECTORS, image: str = "") -> Iterator[Project]:
    """Start one from the appliance's image and fill it; ``folder`` holds its socket, so its path must be short.

    Args:
        rows: how many the smallest of the ordinary tables has.
        vectors: the schema that pgvector lies in; empty for none.
        image: of another server.
    """
    options: dict[str, Any] = {"settings": SETTINGS, "access": ACCESS, "network": "bridge", "map_to": PLATFORM}
    with postgres.server(folder, name, image=image, **options) as server:
        _platform(server)
        made = Project(server, folder / "source")
        address = server.address
        made.file.touch(mode=0o600)
        made.file.write_text(
            psycopg.conninfo.make_conninfo(
                host=address, user="postgres", password=PASSWORD, dbname=DATABASE, sslmode="disable"
            )
        )
        fill(made, rows, vectors)
        yield made


@contextmanager
def twin(of: Project, name: str, file: Path) -> Iterator[Project]:
    """The same once more on the same server, to be written to."""
    made = Project(of.server, of.describe(file, dbname=name), name)
    with of.platform("postgres") as link:
        link.execute(f"create database {name} template {of.database} owner postgres".encode())
        link.execute(f'alter database {name} set search_path = "$user", public, extensions'.encode())
    try:
        yield made
    finally:
        with of.platform("postgres") as link:
            link.execute(f"drop database {name} with (force)".encode())


def _platform(server: postgres.Server) -> None:
    """Make the first user what it is at Supabase, and the owner what that is: no superuser."""
    with server.connect(autocommit=True) as link:
        link.execute("create role installer superuser login")
    with psycopg.connect(host=server.socket, user="installer", dbname="template1", autocommit=True) as link:
        link.execute(f"alter role postgres rename to {PLATFORM}")
        link.execute(
            sql.SQL(
                "create role postgres login nosuperuser createdb createrole replication bypassrls password {}"
            ).format(sql.Literal(PASSWORD))
        )
        link.execute(f"create database {DATABASE} owner postgres")


def fill(made: Project, rows: int, vectors: str) -> None:
    """Everything in it."""
    with made.platform() as link:
        for file in ("scaffold", "people"):
            _run(link, file)
    with made.owner() as link:
        if vectors:
            link.execute(sql.SQL("create schema if not exists {}").format(sql.Identifier(vectors)))
    with made.platform() as link:
        link.execute("set role postgres")
        for statement in tables.statements(rows):
            link.execute(statement.encode())
        _run(link, "odd")
        link.execute("reset role")
        if vectors:
            _run(link, "vectors", vectors)
            link.execute("alter table public.memories owner to postgres")
        link.execute("analyze")  # not later: an index of the traps makes it fail
        link.execute("set role postgres")
        _run(link, "traps")
        link.execute("reset role")
        _run(link, "platform")


def _run(link: psycopg.Connection[Any], file: str, vectors: str = "") -> None:
    text = (HOME / f"{file}.sql").read_text()
    text = text.replace(":vectors", vectors).replace(":database", DATABASE)
    link.execute(text.encode())
