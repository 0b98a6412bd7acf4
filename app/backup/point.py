"""A recovery point, made: Postgres first, then the cut, then what must be at least as late as the cut.

An object is stored before a row names it, and its versions stay when it is deleted. So objects that are read after
the cut hold every object that a row of the cut names.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path

from app.backup import archive, digest, fence, manifest, places, references, vault
from app.backup.archive import Backup, Kind
from app.backup.command import Failed, Say, run
from app.backup.manifest import Database, Manifest, Objects, Postgres
from app.backup.places import LOCK, OBJECTS, PLAN, POINT, SECRETS, Settings

FULL_EVERY = timedelta(days=7)
WAL_PATIENCE = 120.0
"""Seconds for the cut's WAL to come into the archive."""
LEAST = 64 * 2**20
"""Bytes that must be free to begin with: some segments of WAL. Postgres's backup would wait for them in vain."""
TURN = 15.0
"""Seconds to wait for one's turn: as long as a copy may take stock."""
UNFINISHED = (".minio.sys/tmp", ".minio.sys/multipart", ".minio.sys/maia-restore")
"""Of the object store: uploads and restores that have not ended, which no row can name."""


@contextmanager
def alone(verb: str) -> Iterator[None]:
    """Be the only one who works on the archive, soon.

    Raises:
        Failed: another one does; says what and since when.
    """
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + TURN
    with LOCK.open("a+") as file:
        while True:
            try:
                flock(file, LOCK_EX | LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    file.seek(0)
                    held = file.read().strip() or "another run"
                    raise Failed(f"{held} is at work on the archive; wait for it") from None
                time.sleep(0.1)
        file.truncate(0)
        file.write(f"{verb} (since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC)")
        file.flush()
        yield


def make(settings: Settings, say: Say, kind: Kind | None = None) -> Manifest:
    """Make a point.

    Args:
        kind: of the backup of Postgres; left out, a full one once a week and after a restore, else incremental. The
            first one of another cluster is full in any case.

    Raises:
        Failed: what did not work; nothing of the archive is lost, and the next run takes up what it can.
    """
    started = time.monotonic()
    if (free := places.room()) < LEAST:
        raise Failed(f"the folder of points is full: {free / 1e6:.1f} MB are free on its disk")
    say("opening the archive")
    archive.prepare()
    vault.prepare()
    _clear()
    with ThreadPoolExecutor(1) as aside:
        listed = aside.submit(manifest.points)  # deriving restic's key takes a while, in which pgBackRest mostly waits
        kind = kind or _due(archive.backups())
        say(f"postgres: {kind} backup")
        base = archive.make(kind, lambda line: say(f"postgres: {line}"))
        known = listed.result()
        name = _free(known)
        say("cut")
        with fence.cut(name) as cut:
            objects = aside.submit(_objects, settings)
            if settings.redis:
                _redis()
            # A full backup may be the first one of another cluster, whose numbers say nothing about the last one's.
            last = known[-1] if known and base.kind != "full" else None
            databases = _digests(cut, last, say)
            named = [(each, references.named(each, cut.readers)) for each in settings.references]
            fence.await_archived(cut.segment, WAL_PATIENCE)
            say("objects")
            kept = objects.result()
    found = tuple(references.compare(each, keys, kept) for each, keys in named)
    say("manifest")
    plan = json.loads(PLAN.read_text())
    for path, source in (("plan.json", PLAN), ("secrets.json", SECRETS / "secrets.json")):
        shutil.copyfile(source, POINT / path)
    (POINT / "settings.json").write_text(json.dumps(plan["settings"]))
    made = Manifest(
        id=name,
        stack=settings.stack,
        moment=cut.moment,
        seconds=round(time.monotonic() - started, 1),
        release=next(each["version"] for each in plan["containers"] if each["part"] == "backup"),
        plan=manifest.sha256(PLAN),
        images={each["part"]: each["image_id"] for each in plan["containers"]},
        postgres=Postgres(
            label=base.label,
            kind=base.kind,
            made=base.made.isoformat(),
            restore_point=cut.name,
            lsn=cut.lsn,
            timeline=cut.timeline,
            cluster=archive.cluster(),
            next_transaction=cut.next_transaction,
            fenced=cut.fenced,
            size=base.size,
            added=base.added,
            databases=databases,
        ),
        objects=kept,
        files={path.name: manifest.sha256(path) for path in sorted(POINT.iterdir())},
        references=found,
    )
    manifest.store(made)
    _clear()
    return made


def flush() -> str:
    """Bring the WAL until now into the archive.

    Returns:
        The last segment.
    """
    with fence.connect() as link:
        row = link.execute("select pg_walfile_name(pg_switch_wal())").fetchone()
    assert row
    segment = str(row[0])
    fence.await_archived(segment, WAL_PATIENCE)
    return segment


def _clear() -> None:
    """What a run leaves here holds secrets in clear: it goes before and after."""
    shutil.rmtree(POINT, ignore_errors=True)
    POINT.mkdir(mode=0o700, parents=True)


def _free(known: list[Manifest]) -> str:
    """An id that no point has: one second holds one point."""
    taken = {each.id for each in known}
    while (name := manifest.new_id(datetime.now(UTC))) in taken:
        time.sleep(0.2)
    return name


def _due(known: list[Backup]) -> Kind:
    full = [backup for backup in known if backup.kind == "full"]
    if not full or datetime.now(UTC) - full[-1].made > FULL_EVERY:
        return "full"
    with fence.connect() as link:
        row = link.execute("select timeline_id from pg_control_checkpoint()").fetchone()
    # After a restore the WAL takes another way: a backup from before it would lead past its points.
    return "incr" if row and row[0] == known[-1].timeline else "full"


def _digests(cut: fence.Cut, last: Manifest | None, say: Say) -> dict[str, Database]:
    """What every database held at the cut; where nothing was written since the last point, what that one found."""
    if last and cut.fenced and last.postgres.fenced:
        before = (last.postgres.timeline, last.postgres.next_transaction)
        if before == (cut.timeline, cut.next_transaction) and set(last.postgres.databases) == set(cut.readers):
            return last.postgres.databases
    found = {}
    for name, reader in cut.readers.items():
        say(f"digests of {name}")
        found[name] = Database(tables=digest.database(reader), sequences=digest.sequences(reader))
    return found


def _objects(settings: Settings) -> Objects | None:
    if not settings.objects:
        return None
    kept = vault.find(vault.keep((OBJECTS,), ("objects",), [str(OBJECTS / path) for path in UNFINISHED]))
    return Objects(snapshot=kept.id, tree=kept.tree, files=kept.files, bytes=kept.bytes, added=kept.added)


def _redis() -> Path:
    """All of Redis as one file, by the way a replica gets it."""
    target = POINT / "dump.rdb"
    password = (SECRETS / "redis").read_text()
    run(("redis-cli", "-h", "redis", "--user", "backup", "--askpass", "--rdb", target), stdin=password)
    if not target.exists() or target.read_bytes()[:5] != b"REDIS":
        raise Failed("Redis did not send its data")
    return target


def expire(settings: Settings, say: Say) -> list[str]:
    """Drop the points that are too old, and what only they needed; the newest stays however old it is.

    Returns:
        The ids of the points that went.
    """
    known = manifest.points()
    oldest = datetime.now(UTC) - timedelta(days=settings.days)
    if manifest.jumped(known, oldest):
        say("expiring waits for the next point: by the clock, all others are too old at once")
        return []
    say("expiring")
    archive.pgbackrest("expire")
    labels = {backup.label for backup in archive.backups()}
    gone = [
        each for each in known[:-1] if each.postgres.label not in labels or datetime.fromisoformat(each.moment) < oldest
    ]
    if gone:
        snapshots = manifest.ids()
        kept = {each.objects.snapshot for each in known if each not in gone and each.objects}
        dropped = [snapshots[each.id] for each in gone]
        dropped += [each.objects.snapshot for each in gone if each.objects and each.objects.snapshot not in kept]
        vault.forget(dropped, say)
    return [each.id for each in gone]


def verify(say: Say) -> None:
    """Read the whole archive again.

    Raises:
        Failed: a byte of it is not what was written, or a point names what is not there.
    """
    say("postgres: every file against its checksum")
    archive.verify(lambda line: say(f"postgres: {line}"))
    say("all else: every byte against its hash")
    vault.verify(say)
    labels = {backup.label for backup in archive.backups()}
    for each in manifest.points():
        if each.postgres.label not in labels:
            raise Failed(f"the point {each.id} needs the backup {each.postgres.label}, which is not there")
