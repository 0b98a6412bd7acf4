"""The appliance's Postgres as a plain container, its data mostly in memory, for tests of a schema by itself."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import psycopg
from docker.models.containers import Container

from infra.images import build, store
from tests.system.mutations import until

OWNER = 701
DATABASE = "maia"
SPARE = "spare"
"""The same, to be changed for good."""
SETTINGS = """
hba_file = '/etc/maia/pg_hba.conf'
ident_file = '/etc/maia/pg_ident.conf'
listen_addresses = ''
unix_socket_directories = '/run/postgresql'
unix_socket_permissions = 0777
shared_preload_libraries = 'pg_stat_statements,pgaudit'
pgaudit.log = 'role, ddl'
pgaudit.log_catalog = off
log_line_prefix = '%m [%p] %q%u@%d '
log_error_verbosity = 'terse'
max_parallel_maintenance_workers = 0
maintenance_work_mem = 128MB
shared_buffers = 128MB
hnsw.iterative_scan = 'strict_order'
jit = off
fsync = off
full_page_writes = off
timezone = 'UTC'
"""
"""What of the appliance's own settings (templates/postgres) the schema meets, and no care for the disk."""

SAFE = """
fsync = on
full_page_writes = on
"""
DATA = "/var/lib/postgresql"


@dataclass(frozen=True)
class Server:
    """A running one."""

    container: Container
    socket: str

    @property
    def address(self) -> str:
        """Its address on the network it was given."""
        self.container.reload()
        networks = self.container.attrs["NetworkSettings"]["Networks"]
        return str(next(iter(networks.values()))["IPAddress"])

    def connect(self, database: str = "postgres", **options: Any) -> psycopg.Connection[tuple[Any, ...]]:
        """As superuser."""
        return psycopg.connect(host=self.socket, user="postgres", dbname=database, **options)

    def create(self, database: str, template: str = "template1") -> None:
        with self.connect(autocommit=True) as link:
            link.execute(f"create database {database} template {template}".encode())

    def drop(self, database: str) -> None:
        with self.connect(autocommit=True) as link:
            link.execute(f"drop database if exists {database} with (force)".encode())

    def log(self) -> str:
        return self.container.logs().decode()


@contextmanager
def server(
    folder: Path,
    name: str,
    *,
    settings: str = "",
    access: str = "",
    network: str = "none",
    map_to: str = "postgres",
    room: str = "1g",
    image: str = "",
    disk: bool = False,
) -> Iterator[Server]:
    """Start it from the image as it is built now; ``folder`` holds its socket, so its path must be short.

    Args:
        settings: more of them, which come after its own.
        access: more lines of pg_hba.conf.
        network: of Docker, for a server that is reached by its address too.
        map_to: another role as whom this machine's root may come through the socket.
        room: how much its data may grow to.
        image: another one.
        disk: its data lies on the disk, and is written as safely as the appliance writes it.
    """
    config, socket = folder / "config", folder / "run"
    for made in (config, socket):
        made.mkdir()
        shutil.chown(made, OWNER, OWNER)
    folder.chmod(0o755)
    (config / "postgresql.conf").write_text(SETTINGS + (SAFE if disk else "") + settings)
    (config / "pg_hba.conf").write_text(f"local all all peer map=machine\n{access}")
    own = "".join(f"machine root {role}\n" for role in sorted({"postgres", "installer", map_to}))
    (config / "pg_ident.conf").write_text(f"{own}machine postgres postgres\n")
    client = docker.from_env()
    for left in client.containers.list(all=True, filters={"name": f"^{name}$"}):
        left.remove(force=True, v=True)
    started = client.containers.run(
        image or _image(client),
        detach=True,
        name=name,
        network_mode=network,
        shm_size="256m",
        tmpfs={} if disk else {DATA: f"uid={OWNER},gid={OWNER},mode=0750,size={room}"},
        volumes=[f"{config}:/etc/maia:ro", f"{socket}:/run/postgresql", *([DATA] if disk else [])],
    )
    found = Server(started, str(socket))
    try:
        until(lambda: _answers(found), "it answers", patience=60)
        yield found
    finally:
        started.remove(force=True, v=True)


def _answers(found: Server) -> bool:
    try:
        with found.connect(connect_timeout=5):
            return True
    except psycopg.Error:
        return False


def _image(client: docker.DockerClient) -> str:
    """The image of the recipe as it stands, built where it must be."""
    found = store.lookup("postgres") or build.build(["postgres"], print)["postgres"]
    store.load(client, found)
    return found.id
