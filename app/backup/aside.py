"""One database, one table or one bucket of a point, brought back beside what is live and never over it.

A database is taken out of the point in a container of its own, without a network, as a dump that it leaves with the
running part; that one, which reaches Postgres, makes the side database of it.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from psycopg import sql

from app.backup import archive, cluster, digest, fence, restore, vault
from app.backup.command import Failed, Say, run
from app.backup.digest import Table
from app.backup.manifest import Database
from app.backup.places import DATA, OBJECTS, SOCKET

OUT = Path("/part/aside")
"""Where the job leaves dumps: in the running part's volume, which that one sees as ``IN``."""
IN = DATA / "aside"
EXPECTED = "expected.json"
UNDER_WAY = "maia_restoring"
"""The side database while it is made."""
SYSTEM = {"postgres", "template0", "template1"}
"""Databases that no restore may leave out."""
STAGING = OBJECTS / ".minio.sys" / "maia-restore"
"""The side bucket while it is made: where the store keeps what is its own, so that it shows to nobody."""


def extract(name: str, moment: str, database: str, table: str, say: Say) -> dict[str, Any]:
    """Leave dumps of a database, or of its shape and the rows of one table.

    Raises:
        Failed: it is not in the point, or what did not work; nothing that is live was changed.
    """
    point, _ = restore.choose(name, moment)
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(mode=0o700)
    without = archive.databases(point.postgres.label) - SYSTEM - {database}
    cluster.lay(point, moment, say, without=sorted(without))
    with cluster.played(say) as admin:
        _refuse_unknown("database", database, fence.databases(admin))
        with fence.connect(database, str(cluster.SOCKET)) as link:
            say(f"comparing {database}")
            found = Database(tables=digest.database(link), sequences=digest.sequences(link))
            views = {".".join(each) for each in digest.tables(link, "m")}
            pattern = _pattern(link, table, set(found.tables) - views) if table else ""
            differs = [] if moment else restore.differing(point.postgres.databases[database], link)
        say(f"dumping {table or database}")
        if table:
            _dump(database, "1-shape", "--section=pre-data")
            _dump(database, "2-rows", "--data-only", f"--table={pattern}")
            expected = {table: found.tables[table]}
        else:
            _dump(database, "1-all")
            # A materialised view is made anew from its tables, which may be newer than what it showed.
            expected = {each: held for each, held in found.tables.items() if each not in views}
    (OUT / EXPECTED).write_text(json.dumps({each: dataclasses.asdict(held) for each, held in expected.items()}))
    for path in (OUT, *OUT.iterdir()):
        shutil.chown(path, "postgres", "postgres")
    return {"point": point.id, "differs": [each for each in differs if not table or each == table]}


def _refuse_unknown(what: str, name: str, known: Iterable[str]) -> None:
    if name not in (names := sorted(known)):
        near = difflib.get_close_matches(name, names, n=1)
        raise Failed(f"no {what} {name!r} in the point; " + (f"did you mean {near[0]!r}?" if near else _few(names)))


def _few(names: list[str]) -> str:
    return f"there are {', '.join(names[:8])}{' …' if names[8:] else ''}" if names else "there is none"


def _pattern(link: fence.Link, table: str, known: Iterable[str]) -> str:
    """The table as ``pg_dump`` takes it, whatever characters its name has."""
    _refuse_unknown("table", table, known)
    schema, name = next(each for each in digest.tables(link) if ".".join(each) == table)
    return ".".join('"' + part.replace('"', '""') + '"' for part in (schema, name))


def _dump(database: str, file: str, *options: str) -> None:
    run(
        (
            *("pg_dump", "--format=custom", "--compress=lz4", f"--host={cluster.SOCKET}", "--username=postgres"),
            *(*options, f"--file={OUT / file}.dump", f"--dbname={database}"),
        )
    )


def take(database: str, say: Say) -> dict[str, Any]:
    """Make the side database of the dumps that wait, and compare it with what they were taken from.

    Returns:
        Tables and rows that were compared, those that differ, and what Postgres refused of the rest.

    Raises:
        Failed: the name is taken, or what did not work; there is no side database then.
    """
    expected = {name: Table(**found) for name, found in json.loads((IN / EXPECTED).read_text()).items()}
    with fence.connect() as admin:
        if database in fence.databases(admin):
            raise Failed(f"there is a database {database!r} already")
        _drop(admin)
        admin.execute(sql.SQL("create database {} template template0").format(sql.Identifier(UNDER_WAY)))
        try:
            admin.execute(sql.SQL("revoke all on database {} from public").format(sql.Identifier(UNDER_WAY)))
            refused: list[str] = []
            for dump in sorted(IN.glob("*.dump")):
                say(f"filling {database}")
                refused += _load(dump)
            say(f"comparing {database}")
            with fence.connect(UNDER_WAY) as link:
                tables = digest.database(link, set(expected))
            rename = sql.SQL("alter database {} rename to {}")
            admin.execute(rename.format(sql.Identifier(UNDER_WAY), sql.Identifier(database)))
        finally:
            _drop(admin)
            shutil.rmtree(IN)
    return {
        "tables": len(expected),
        "rows": sum(each.rows for each in expected.values()),
        "differs": sorted(name for name, held in expected.items() if tables.get(name) != held),
        "refused": refused,
    }


def _drop(admin: fence.Link) -> None:
    admin.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(UNDER_WAY)))


def _load(dump: Path) -> list[str]:
    """What of the dump Postgres refused: a view over what is gone, a policy for a role that is not here."""
    told = run(
        (
            *("pg_restore", "--no-owner", "--no-privileges", "--no-publications", "--no-subscriptions"),
            *(f"--host={SOCKET}", "--username=postgres", f"--dbname={UNDER_WAY}", dump),
        ),
        say=lambda line: None,
        codes=(0, 1),
    )
    return [line.partition("error: ")[2] for line in told.splitlines() if line.startswith("pg_restore: error: ")]


def bucket(name: str, moment: str, wanted: str, side: str, say: Say) -> dict[str, Any]:
    """Put a bucket of a point into the object store's volume under another name, at once.

    An object's file does not name its bucket, so all versions come along as they are.

    Raises:
        Failed: it is not in the point, the name is taken, or what did not work; the store is as it was then.
    """
    _, things = restore.choose(name, moment)
    if not things.objects:
        raise Failed(f"the point {things.id} holds no objects")
    _refuse_unknown("bucket", wanted, vault.folders(things.objects.snapshot, OBJECTS))
    if (OBJECTS / side).exists():
        raise Failed(f"there is a bucket {side!r} already")
    shutil.rmtree(STAGING, ignore_errors=True)
    say(f"objects of {wanted}")
    vault.restore(things.objects.snapshot, OBJECTS / wanted, STAGING, say)
    files = sum(path.is_file() for path in STAGING.rglob("*"))
    store = OBJECTS.stat()
    os.chown(STAGING, store.st_uid, store.st_gid)
    STAGING.chmod(store.st_mode & 0o777)
    STAGING.rename(OBJECTS / side)
    return {"point": things.id, "files": files}
