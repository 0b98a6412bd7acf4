"""A dump as the source of a move: loaded into a Postgres of its own, which nothing else reaches, and read from there.

What was loaded is kept until it was moved and compared: a later step needs the same rows with the same numbers.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import docker
import psycopg
from docker.errors import NotFound
from docker.models.containers import Container
from psycopg import sql

from app.migrate.refused import Refused
from app.migrate.source import Source
from app.migrate.verdicts import Verdict
from infra import dumpfile, machine
from infra.dumpfile import Dump
from infra.site import cache
from infra.toolchain.lock import held

Say = Callable[[str], None]
Link = psycopg.Connection[tuple[Any, ...]]

OWNER = 701
DATABASE = "dump"
DATA = "/var/lib/postgresql"
PLACE = "/dump"
PATIENCE = 60.0
"""Seconds until the server must answer."""
GRACE = 120
"""Seconds that it may take to end."""
GROWS = {"custom": 6, "directory": 6, "tar": 2, "plain": 2}
"""Bytes that a dump's database takes at most, for each of its own, as a rule; some of these forms are compressed."""
SETTINGS = """
hba_file = '/etc/maia/pg_hba.conf'
ident_file = '/etc/maia/pg_ident.conf'
listen_addresses = ''
unix_socket_directories = '/run/postgresql'
unix_socket_permissions = 0777
shared_buffers = 256MB
maintenance_work_mem = 256MB
max_parallel_maintenance_workers = 0
wal_level = minimal
max_wal_senders = 0
max_wal_size = 4GB
autovacuum = off
synchronous_commit = off
jit = off
timezone = 'UTC'
"""
"""Nothing is written once it is loaded, so that a later step sees that nothing was."""
ROLES = (
    "anon", "authenticated", "authenticator", "dashboard_user", "pgbouncer", "service_role", "supabase_admin",
    "supabase_auth_admin", "supabase_functions_admin", "supabase_read_only_user", "supabase_realtime_admin",
    "supabase_replication_admin", "supabase_storage_admin",
)  # fmt: skip
"""What every project has, and no dump of one database holds."""
SCAFFOLD = {
    "extensions": "create schema extensions",
    "auth": """create schema auth;
      create table auth.users (id uuid primary key);
      create function auth.uid() returns uuid language sql stable as
        $$ select nullif(current_setting('request.jwt.claim.sub', true), '')::uuid $$;
      create function auth.role() returns text language sql stable as
        $$ select nullif(current_setting('request.jwt.claim.role', true), '') $$;
      create function auth.email() returns text language sql stable as
        $$ select nullif(current_setting('request.jwt.claim.email', true), '') $$;
      create function auth.jwt() returns jsonb language sql stable as
        $$ select nullif(current_setting('request.jwt.claims', true), '')::jsonb $$""",
}
"""What a dump of one's own schemas refers to, where it does not hold it."""
NOTES = """
create unlogged table loaded (at timestamptz not null default now());
create table lost (kind text not null, name text not null, why text not null)
"""
"""The first is empty after a crash, as the dump's own unlogged tables are: then it is loaded again."""


@contextmanager
def served(dump: Dump, image: str, say: Say) -> Iterator[Source]:
    """A dump as a source, for as long as the context lasts; loaded where it was not before.

    Raises:
        Refused: it cannot be loaded, and why.
    """
    say("reading the dump")
    name = _name(dump)
    with held(cache() / "dumps" / f"{name}.lock", dump.path.name, say), tempfile.TemporaryDirectory() as folder:
        client = docker.from_env(timeout=None)  # type: ignore[arg-type]  # it may take long
        for left in client.containers.list(all=True, filters={"name": f"^{name}$"}):
            _end(left)
        server = _Server(client, dump, image, name, Path(folder))
        try:
            lost = server.lost()
            if lost is None:
                server.empty()
                lost = server.load(say)
            # When, too: what is loaded a second time has other numbers, so a copy of the first cannot go on from it.
            label = f"{name.removeprefix('maia-')} of {server.since()}"
            yield Source({"host": server.socket, "user": "postgres", "dbname": DATABASE}, label, lost)
        finally:
            server.stop()


def kept(dump: Dump) -> bool:
    """Whether something that was loaded of it is there."""
    try:
        docker.from_env().volumes.get(_name(dump))
    except NotFound:
        return False
    return True


def forget(dump: Dump) -> None:
    """Remove what was loaded of it."""
    with suppress(NotFound):
        docker.from_env().volumes.get(_name(dump)).remove()


def _name(dump: Dump) -> str:
    return f"maia-dump-{dump.digest()[:16]}"


def _end(container: Container) -> None:
    """By its own means: a server that is killed empties its unlogged tables when it starts again."""
    with suppress(NotFound):
        container.stop(timeout=GRACE)
        container.remove(force=True)


class _Server:
    """The Postgres that a dump is loaded into; its data is a volume that stays, itself it does not."""

    def __init__(self, client: docker.DockerClient, dump: Dump, image: str, name: str, folder: Path) -> None:
        self._client, self._dump, self._image, self._name = client, dump, image, name
        self._config, run = folder / "config", folder / "run"
        for made in (self._config, run):
            made.mkdir()
            shutil.chown(made, OWNER, OWNER)
        self.socket = str(run)
        (self._config / "postgresql.conf").write_text(SETTINGS)
        (self._config / "pg_hba.conf").write_text("local all all peer map=machine\n")
        (self._config / "pg_ident.conf").write_text("machine root postgres\nmachine postgres postgres\n")
        for file in self._config.iterdir():
            file.chmod(0o644)
        self._container = self._start()

    def stop(self) -> None:
        _end(self._container)

    def _start(self) -> Container:
        started = self._client.containers.run(
            self._image,
            detach=True,
            name=self._name,
            network_mode="none",
            read_only=True,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges:true"],
            pids_limit=128,
            shm_size="256m",
            tmpfs={"/tmp": "mode=1777"},
            volumes=[
                f"{self._name}:{DATA}",
                f"{self._config}:/etc/maia:ro",
                f"{self.socket}:/run/postgresql",
                f"{self._dump.path}:{PLACE}:ro",
            ],
        )
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                self.connect("postgres").close()
                return started
            except psycopg.Error:
                time.sleep(0.2)
        said = started.logs(tail=3).decode(errors="replace")
        started.remove(force=True)
        raise Refused(f"does not start: {' '.join(said.split())}", "Postgres for the dump", "maia doctor")

    def connect(self, database: str) -> Link:
        return psycopg.connect(host=self.socket, user="postgres", dbname=database, connect_timeout=5, autocommit=True)

    def lost(self) -> tuple[Verdict, ...] | None:
        """What could not be loaded, of a dump that was loaded before; none where it was not, or not to its end."""
        with self.connect("postgres") as link:
            if link.execute("select to_regclass('loaded')").fetchone() == (None,):
                return None
            if link.execute("select count(*) from loaded").fetchone() == (0,):
                return None
            rows = link.execute("select kind, name, why from lost order by 1, 2").fetchall()
        return tuple(Verdict(kind, name, "left", why) for kind, name, why in rows)

    def since(self) -> str:
        """When it was loaded."""
        with self.connect("postgres") as link:
            row = link.execute("select to_char(at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS') from loaded").fetchone()
        assert row
        return str(row[0])

    def empty(self) -> None:
        """Remove what an earlier run loaded that was broken off.

        Raises:
            Refused: there is no room for the whole.
        """
        with self.connect("postgres") as link:
            link.execute(f"drop database if exists {DATABASE} with (force)".encode())
            link.execute("drop table if exists loaded, lost")
        needed = self._dump.size * GROWS[self._dump.form]
        where = str(self._client.volumes.get(self._name).attrs["Mountpoint"])
        if (free := machine.free(where) << 20) < needed:
            self._drop()
            raise Refused(
                f"{needed / 1e9:.1f} GB may be needed to load it and {free / 1e9:.1f} GB are free",
                str(self._dump.path),
                "make room where Docker keeps its volumes",
            )

    def load(self, say: Say) -> tuple[Verdict, ...]:
        """Load it, and note what could not be.

        Raises:
            Refused: it is no whole dump.
        """
        say("what the dump holds")
        listed = dumpfile.schema(self._dump) if self._dump.form == "plain" else self._listed()
        with self.connect("postgres") as link:
            link.execute(NOTES)
            there = {name for (name,) in link.execute("select rolname::text from pg_roles")}
            for role in sorted({*ROLES, *dumpfile.roles(listed)} - there):
                link.execute(sql.SQL("create role {} nologin").format(sql.Identifier(role)))
            link.execute(f"create database {DATABASE} template template0".encode())
        with self.connect(DATABASE) as link:
            for schema, statements in SCAFFOLD.items():
                if schema not in dumpfile.schemas(listed):
                    link.execute(statements.encode())
        say("loading the dump")
        code, said = self._run(*self._loader())
        lost = tuple(dumpfile.faults(said, self._dump.form))
        if fatal := dumpfile.fatal(code, said, self._dump.form):
            self._drop()
            raise Refused(fatal, str(self._dump.path), "make the dump again, and compare what pg_dump says")
        with self.connect(DATABASE) as link:
            try:
                link.execute("analyze")
            except psycopg.Error:
                link.execute("select 1")  # an index whose function does not say where names are looked up
        with self.connect("postgres") as link, link.transaction(), link.cursor() as cursor:
            cursor.executemany(
                "insert into lost values (%s, %s, %s)", [(each.kind, each.name, each.why) for each in lost]
            )
            cursor.execute("insert into loaded default values")
        return lost

    def _loader(self) -> list[str]:
        to = f"host=/run/postgresql user=postgres dbname={DATABASE}"
        if self._dump.form == "plain":
            return ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=0", "-d", to, "-o", "/dev/null", "-f", PLACE]
        # Only so it says what it could not load; several jobs would say it in between each other.
        return ["pg_restore", "--verbose", "--no-owner", "-d", to, PLACE]

    def _listed(self) -> bytes:
        """The definitions of an archive, as SQL."""
        code, said, text = self._output("pg_restore", "--schema-only", "-f", "-", PLACE)
        if code:
            self._drop()
            raise Refused(dumpfile.last(said), str(self._dump.path), "it must be what pg_dump wrote, and whole")
        return text

    def _run(self, *words: str) -> tuple[int, str]:
        code, said, _ = self._output(*words)
        return code, said

    def _output(self, *words: str) -> tuple[int, str, bytes]:
        """As root of the container, who has no capabilities: the dump is this machine's root's alone."""
        code, output = self._container.exec_run(list(words), user="0", demux=True)
        out, error = cast("tuple[bytes | None, bytes | None]", output)
        return code or 0, (error or b"").decode(errors="replace"), out or b""

    def _drop(self) -> None:
        """Keep nothing of what is of no use."""
        self.stop()
        self._client.volumes.get(self._name).remove()
