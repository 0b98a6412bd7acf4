"""A cluster of an older major version of Postgres carried over to this one's, row by row.

The older server serves its own cluster in a container of its own; what is here reads from it through a socket that only
the two share, and writes a new cluster beside the old one. The old one is never written to, and what serves is
exchanged for it in one step: whatever is killed when, one of the two is whole and in its place.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from app.backup import digest, fence
from app.backup.command import LINES, Failed, Say, run
from app.backup.places import POSTGRES, SOCKET, SPOOL

HOME = POSTGRES.parent
DUMP = HOME / "dump"
WAITING = "waiting"
"""In a cluster that does not serve: the segments of its WAL that the archive does not have yet."""
JOBS = str(min(4, os.cpu_count() or 1))
OWN = Path("/tmp/postgres")
"""The socket of the new server."""
LOG = Path("/tmp/postgres.log")
PATIENCE = 60.0
"""Seconds within which a new cluster's server answers."""
INITDB = (
    "initdb", "--username", "postgres", "--encoding", "UTF8", "--locale-provider", "builtin",
    "--builtin-locale", "C.UTF-8", "--locale", "C.UTF-8", "--data-checksums", "--auth-local", "peer",
    "--auth-host", "scram-sha-256", "--no-instructions",
)  # fmt: skip
"""As the image of Postgres makes a cluster."""
SERVER = {
    "listen_addresses": "",
    "unix_socket_directories": str(OWN),
    "shared_preload_libraries": "pg_stat_statements,pgaudit",
    # It is written to the disk as a whole, once it is whole.
    "fsync": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "8GB",
    "autovacuum": "off",
    "jit": "off",
    "maintenance_work_mem": "256MB",
    # pgvector 0.8.0 overflows a buffer when it builds an HNSW index in parallel.
    "max_parallel_maintenance_workers": "0",
    # A statement may hold a password.
    "log_min_error_statement": "panic",
}


def carry(former: str, say: Say) -> dict[str, Any]:
    """Make a new cluster of all that the old one holds, in a folder named by the old one's version.

    It does not serve yet: `serve` does that, when nobody uses the old one any more.

    Raises:
        Failed: what did not work; the old cluster is as it was.
    """
    started, made = time.monotonic(), HOME / former
    for path in (DUMP, *_numbered()):
        shutil.rmtree(path, ignore_errors=True)
    with fence.connect() as old:
        names = _databases(old, former)
    say("making the new cluster")
    run((*INITDB, "--no-sync", "--pgdata", made))
    with _serving(made):
        say("roles")
        _roles()
        for name in names:
            _database(name, say)
        rows = _compare(names, say)
        say("vacuum and statistics")
        run(("vacuumdb", "--all", "--analyze", f"--jobs={JOBS}", "--quiet", "--maintenance-db", _at(OWN, "postgres")))
    say("writing it to the disk")
    run(("initdb", "--sync-only", "--pgdata", made))
    return {"databases": names, "rows": rows, "seconds": round(time.monotonic() - started, 1)}


def serve(version: str) -> str:
    """Have the cluster of this version be the one that serves; nobody may use either of them now.

    What its WAL was not yet archived of goes with each.

    Returns:
        The version whose cluster lies beside it; empty where none does.

    Raises:
        Failed: there is none of this version.
    """
    if _version(POSTGRES) != version:
        beside = next((path for path in _numbered() if _version(path) == version), None)
        if beside is None:
            raise Failed(f"there is no cluster of Postgres {version}")
        _move(SPOOL, POSTGRES / WAITING)
        run(("mv", "--exchange", "--no-target-directory", beside, POSTGRES))
        if beside.name != (own := _version(beside)):
            beside.rename(HOME / own)
        _sync(HOME)
    _move(POSTGRES / WAITING, SPOOL)
    return next((path.name for path in _numbered()), "")


def forget() -> list[str]:
    """Remove the clusters that do not serve.

    Returns:
        Their versions.
    """
    gone = _numbered()
    for path in (DUMP, *gone):
        shutil.rmtree(path, ignore_errors=True)
    return [path.name for path in gone]


def _numbered() -> list[Path]:
    return sorted(path for path in HOME.iterdir() if path.name.isdigit())


def _version(cluster: Path) -> str:
    return (cluster / "PG_VERSION").read_text().strip()


def _move(source: Path, target: Path) -> None:
    """Every segment, to where it is safe before it is gone from where it was."""
    if not source.exists():
        return
    target.mkdir(mode=0o700, exist_ok=True)
    for segment in sorted(path for path in source.iterdir() if path.suffix != ".part"):
        partial = target / f"{segment.name}.part"
        shutil.copyfile(segment, partial)
        _sync(partial)
        partial.rename(target / segment.name)
        _sync(target)
        segment.unlink()
    if source != SPOOL:
        shutil.rmtree(source)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _databases(old: fence.Link, former: str) -> list[str]:
    """All that must come over, the template of others first.

    Raises:
        Failed: the server is another one, or a database lets nobody in.
    """
    number = old.info.server_version // 10000
    if str(number) != former:
        raise Failed(f"the old server is Postgres {number}, not {former}")
    query = "select datname from pg_database where not datallowconn and datname <> 'template0'"
    if shut := [str(name) for (name,) in old.execute(query)]:
        raise Failed(f"nobody may connect to {', '.join(shut)}; allow it or drop it")
    if odd := [str(name) for (name,) in old.execute("select spcname from pg_tablespace where spcname !~ '^pg_'")]:
        raise Failed(f"tables lie in a tablespace of their own: {', '.join(odd)}")
    rows = old.execute("select datname from pg_database where datallowconn order by datname <> 'template1', 1")
    return [str(name) for (name,) in rows]


def _at(socket: Path, name: str) -> str:
    return make_conninfo(host=str(socket), user="postgres", dbname=name)


def _roles() -> None:
    """With their passwords' verifiers, which pass through memory only."""
    told = run(("pg_dumpall", "--globals-only", "--dbname", _at(SOCKET, "postgres")))
    # The one role that a cluster is made with.
    wanted = "\n".join(line for line in told.split("\n") if line != "CREATE ROLE postgres;")
    run(("psql", "-Xq", "-v", "ON_ERROR_STOP=1", "-o", os.devnull, "-d", _at(OWN, "postgres")), stdin=wanted)


def _database(name: str, say: Say) -> None:
    say(f"{name}: reading")
    run(("pg_dump", "-Fd", f"-j{JOBS}", "-Z", "lz4", "-f", DUMP, "-d", _at(SOCKET, name)))
    say(f"{name}: writing")
    # These two are there from the start, and are made again for what is set on the database itself.
    anew = ("--clean", "--if-exists") if name in ("postgres", "template1") else ()
    other = "postgres" if name == "template1" else "template1"
    run(("pg_restore", "--exit-on-error", "--create", *anew, f"-j{JOBS}", "-d", _at(OWN, other), DUMP))
    shutil.rmtree(DUMP)


def _compare(names: list[str], say: Say) -> int:
    """Every row, large object, sequence and role on both sides.

    Returns:
        How many rows there are.

    Raises:
        Failed: naming what differs.
    """
    differs, rows = [], 0
    for name in names:
        say(f"{name}: comparing")
        with fence.connect(name) as old, fence.connect(name, str(OWN)) as new:
            before, after = _held(old), _held(new)
        rows += sum(int(each.rows) for each in before.values() if isinstance(each, digest.Table))
        differs += [f"{name}: {key}" for key in sorted({*before, *after}) if before.get(key) != after.get(key)]
    if differs:
        more = f" and {len(differs) - LINES} more" if len(differs) > LINES else ""
        raise Failed(f"not the same in the new cluster: {', '.join(differs[:LINES])}{more}")
    return rows


def _held(link: fence.Link) -> dict[str, object]:
    """By name. A materialised view is as old as its last refresh, and is made anew: only that it is there."""
    roles = link.execute(
        "select 'role ' || rolname, md5((to_jsonb(a) - 'oid')::text) from pg_authid a where rolname !~ '^pg_'"
    )
    held: dict[str, object] = dict(roles.fetchall())
    held |= {f"sequence {key}": at for key, at in digest.sequences(link).items()}
    held |= digest.database(link, kinds="r")
    held |= {f"{schema}.{name}": "a view" for schema, name in digest.tables(link, "m")}
    objects = link.execute(
        """select count(*), sum(hashtextextended(loid || ' ' || pageno || ' ' || encode(page, 'hex'), 0)::numeric)
           from (select loid, pageno, rtrim(data, '\\x00'::bytea) as page from pg_largeobject) p where page <> ''"""
    )
    return held | {"large objects": objects.fetchone()}


@contextmanager
def _serving(cluster: Path) -> Iterator[None]:
    OWN.mkdir(mode=0o700, exist_ok=True)
    options = [word for key, value in SERVER.items() for word in ("-c", f"{key}={value}")]
    with LOG.open("w") as log:
        server = subprocess.Popen(
            ["postgres", "-D", cluster, *options], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        _await(server)
        yield
    finally:
        server.send_signal(2)  # SIGINT: a fast shutdown, with a checkpoint
        server.wait()


def _await(server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return fence.connect(folder=str(OWN)).close()
        except psycopg.OperationalError as error:
            if server.poll() is not None or time.monotonic() > deadline:
                told = [line for line in LOG.read_text(errors="replace").splitlines() if "FATAL" in line]
                raise Failed(f"the new server: {told[-1] if told else error}") from None
            time.sleep(0.1)
