"""A point put back into volumes that nobody uses, in a container made for this one job.

It starts as root, because objects and Redis's data belong to other users than Postgres's; what speaks with the
archive of Postgres, and the server that plays the WAL, run as Postgres's own.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from app.backup import archive, cluster, digest, fence, manifest, vault
from app.backup.command import Failed, Say, run
from app.backup.manifest import Database, Manifest, Objects
from app.backup.places import OBJECTS, POINT

REDIS = Path("/redis")
"""Redis's volume, in this container alone."""


def read(name: str) -> dict[str, Any]:
    """The manifest, settings and secrets of a point.

    Raises:
        Failed: it is not there, or a file of it is not the one its manifest names.
    """
    found = manifest.find(name)
    _refuse_other(found)
    snapshot = manifest.ids()[found.id]
    texts = {}
    for file in ("settings.json", "secrets.json"):
        texts[file] = vault.dump(snapshot, POINT / file)
        _same(found, file, texts[file].encode())
    return {
        "manifest": found.data(),
        "settings": json.loads(texts["settings.json"]),
        "secrets": json.loads(texts["secrets.json"]),
    }


def _refuse_other(point: Manifest) -> None:
    """The server here plays the WAL of its own major version only.

    Raises:
        Failed: the point is of another one.
    """
    own = run(("postgres", "--version")).split()[2].partition(".")[0]
    made = next((each.version for each in archive.backups() if each.label == point.postgres.label), own)
    if made != own:
        raise Failed(f"the point {point.id} is of Postgres {made}, this is {own}: release {point.release} restores it")


def _same(found: Manifest, file: str, content: bytes) -> None:
    if hashlib.sha256(content).hexdigest() != found.files[file]:
        raise Failed(f"{file} of the point {found.id} is not what its manifest names")


def check(name: str, moment: str, say: Say) -> None:
    """See that what a restore needs is whole: Postgres's backup and WAL by every checksum, all else by its files' size.

    Raises:
        Failed: a file of it is missing or is not what was written.
    """
    point, _ = choose(name, moment)
    say(f"postgres: every file of {point.postgres.label} against its checksum")
    archive.verify(lambda line: None, point.postgres.label)
    say("all else: every file against its size")
    vault.check()


def fill(name: str, moment: str, say: Say, *, redis: str = "", objects: str = "") -> dict[str, Any]:
    """Put everything back.

    Args:
        name: the point, or ``latest``.
        moment: a time between points, ISO 8601, instead of a point's own.
        redis: ``uid:gid`` of Redis; empty where the stack has none. ``objects`` likewise.

    Returns:
        What was put back, and where a table is not what the manifest says.

    Raises:
        Failed: what did not work; the volumes are unusable then, until another run ends well.
    """
    started = time.monotonic()
    point, things = choose(name, moment)
    _refuse_other(point)
    cluster.lay(point, moment, say)
    found = _replay(point, moment, say)
    if objects and things.objects:
        say(f"objects: {things.objects.files} files")
        cluster.empty(OBJECTS)
        vault.restore(things.objects.snapshot, OBJECTS, OBJECTS, say)
        found["differs"] += _compare_objects(things.objects)
        _own(OBJECTS, objects)
    if redis and "dump.rdb" in point.files:
        say("redis")
        _redis(point, redis)
    return {"point": point.id, "objects": things.id, "seconds": round(time.monotonic() - started, 1), **found}


def choose(name: str, moment: str) -> tuple[Manifest, Manifest]:
    """The point that the restore begins with, and the one whose objects are late enough."""
    if not moment:
        found = manifest.find(name)
        return found, found
    wanted = cluster.parse(moment)
    points = manifest.points()
    before = [each for each in points if datetime.fromisoformat(each.moment) <= wanted]
    after = [each for each in points if datetime.fromisoformat(each.moment) > wanted]
    if not before:
        raise Failed(f"no point is as old as {moment}; the oldest is {points[0].moment if points else 'not there yet'}")
    return before[-1], (after or before[-1:])[0]


def _replay(point: Manifest, moment: str, say: Say) -> dict[str, Any]:
    """Play the WAL up to the target, and compare what is there then."""
    with cluster.played(say) as link:
        row = link.execute("select timeline_id from pg_control_checkpoint()").fetchone()
        for name in ("restore_command", "recovery_target_name", "recovery_target_time", "recovery_target_action",
                     "recovery_target_timeline"):  # fmt: skip
            link.execute(f"alter system reset {name}".encode())
        differs = [] if moment else _compare(point, fence.databases(link), say)
    return {"timeline": row[0] if row else 0, "differs": differs, "compared": not moment}


def _compare(point: Manifest, names: list[str], say: Say) -> list[str]:
    """The tables and databases that are not what the manifest says."""
    wanted, differs = point.postgres.databases, []
    for name in sorted({*wanted, *names}):
        if name not in names or name not in wanted:
            differs.append(name)
            continue
        say(f"postgres: comparing {name}")
        with fence.connect(name, str(cluster.SOCKET)) as link:
            differs += [f"{name}: {each}" for each in differing(wanted[name], link)]
    return differs


def differing(expected: Database, link: fence.Link) -> list[str]:
    """The tables and sequences of a database that are not what is expected."""
    tables, sequences = digest.database(link), digest.sequences(link)
    names = sorted({*tables, *expected.tables})
    return [name for name in names if tables.get(name) != expected.tables.get(name)] + [
        name for name, at in expected.sequences.items() if sequences.get(name, -1) < at
    ]


def _compare_objects(expected: Objects) -> list[str]:
    """What of the objects is not what the manifest says.

    The snapshot's tree is a hash over every name and content, and restic has compared each file that it wrote with it.
    """
    files = [path.lstat() for path in OBJECTS.rglob("*") if path.is_symlink() or not path.is_dir()]
    found = {
        "tree": (vault.find(expected.snapshot).tree, expected.tree),
        "files": (len(files), expected.files),
        "bytes": (sum(each.st_size for each in files), expected.bytes),
    }
    return [f"objects: {what} {has}, not {wanted}" for what, (has, wanted) in found.items() if has != wanted]


def _redis(point: Manifest, owner: str) -> None:
    """The data as the first file of an append-only log: a dump beside such a log would not be read."""
    cluster.empty(REDIS)
    snapshot = manifest.ids()[point.id]
    staging = REDIS / "restored"
    vault.restore(snapshot, POINT, staging, lambda line: None)
    _same(point, "dump.rdb", (staging / "dump.rdb").read_bytes())
    folder = REDIS / "appendonlydir"
    folder.mkdir()
    os.replace(staging / "dump.rdb", folder / "appendonly.aof.1.base.rdb")
    (folder / "appendonly.aof.1.incr.aof").touch()
    (folder / "appendonly.aof.manifest").write_text(
        "file appendonly.aof.1.base.rdb seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n"
    )
    shutil.rmtree(staging)
    run(("chown", "-R", owner, REDIS))
    _own(REDIS, owner)


def _own(folder: Path, owner: str) -> None:
    """The folder itself, as the image of its part has it."""
    uid, gid = (int(part) for part in owner.split(":"))
    os.chown(folder, uid, gid)
    os.chmod(folder, 0o750)  # noqa: S103 - as in the image of its part
