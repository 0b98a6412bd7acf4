"""The archive a second time, away from the machine: a restic repository with a snapshot of the folder a run.

What is in the folder is encrypted, written once and renamed into place; only the last step of each tool names it. So
second names, given while no other job works on the archive, stay a whole archive for as long as sending them takes.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import Any

from app.backup import manifest, point, vault
from app.backup.command import Exited, Failed, Say, run
from app.backup.places import ARCHIVE, COPIES, SECRETS, Copy
from app.backup.target import meet

PARTS = ("postgres", "restic")
STILL = ".copying-"
"""What the folders of second names are called, before the copy's name; the path is part of each snapshot."""
TEMPORARY = re.compile(r"\.pgbackrest\.tmp$|-tmp-\d+$")
"""What the tools call a file that is not whole yet."""
ANSWER = 30.0
"""Seconds for the target to answer what takes it no time: restic itself asks for a quarter of an hour, even where it is
told that its key is wrong."""
NO_REPOSITORY, LOCKED, WRONG_KEY = 10, 11, 12
"""restic's exit codes."""
HOURS = 24
"""How many hourly states are kept at the target, beside those of days."""


def _restic(
    copy: Copy,
    *words: str | Path,
    say: Say | None = None,
    codes: Sequence[int] = (0,),
    patience: float | None = None,
) -> str:
    folder = COPIES / copy.name
    scratch = folder / "tmp"
    scratch.mkdir(parents=True, exist_ok=True)
    options: list[str | Path] = ["--cache-dir", folder / "cache", "--cleanup-cache"]
    if copy.region:
        options += ["-o", f"s3.region={copy.region}"]
    else:
        options += ["-o", f"sftp.command=ssh -F /etc/maia/ssh_config {copy.name} -s sftp"]
    if copy.private:
        options += ["--cacert", "/etc/maia/roots.pem"]
    given = {
        "AWS_SHARED_CREDENTIALS_FILE": str(SECRETS / "aws"),
        "AWS_PROFILE": copy.name,
        "HOME": str(folder),
        "RESTIC_PROGRESS_FPS": "0.5",
        # What waits to be sent is on the disk, not in memory.
        "TMPDIR": str(scratch),
    }
    command = ("restic", *words, "--repo", copy.repository, "--password-file", SECRETS / "copy", *options)
    try:
        return run(command, say=say, codes=codes, env=os.environ | given, patience=patience)
    except Exited as error:
        if error.code == NO_REPOSITORY:
            raise
        raise Failed(f"copy {copy.name}: {_reason(error)}") from None


def _reason(error: Exited) -> str:
    """The one line that says what is wrong."""
    if error.code == WRONG_KEY:
        return "the recovery key does not open what is there: it is another stack's"
    told = [_message(line) for line in error.lines]
    if of_ssh := [line for line in told if line.startswith("subprocess ssh: ")]:
        return of_ssh[-1].removeprefix("subprocess ssh: ")
    fatal = [line for line in told if line.startswith("Fatal: ")][-1:]
    other = [line for line in told if line and not line.startswith("Fatal: ")][-1:]
    # The last word is enough, but for a mere count of what was said before it.
    found = fatal + other if not fatal or "There were" in fatal[0] else fatal
    noise = r"Fatal: |unable to open config file: |.* retrying after [^:]+: "
    return re.sub(noise, "", ": ".join(found)) or str(error)


def _message(line: str) -> str:
    """What a line of restic's says, first things only; it writes JSON for some jobs."""
    if line.startswith("{"):
        found = json.loads(line)
        line = found.get("error", found).get("message", "")
    return (line.splitlines() or [""])[0].strip()


@contextmanager
def alone(copy: Copy, say: Say) -> Iterator[None]:
    """Be the only one who works at this target, after whoever does now."""
    folder = COPIES / copy.name
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a") as file:
        try:
            flock(file, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            say(f"{copy.name}: waiting for another run")
            flock(file, LOCK_EX)
        yield


def bring(copy: Copy, days: int, brought: str, say: Say) -> dict[str, Any]:
    """Bring over what the target does not have yet.

    Args:
        days: how many daily states are kept there.
        brought: the newest point that it has.

    Returns:
        The newest point there is, and the bytes that were added.

    Raises:
        Failed: what did not work; what the target has stays, and the next run goes on from there.
    """
    say(f"{copy.name}: opening")
    meet(copy)
    last = _prepare(copy)
    still = ARCHIVE / f"{STILL}{copy.name}"
    try:
        with point.alone("taking stock for a copy"):
            points = manifest.points() if vault.REPOSITORY.exists() else []
            if brought and not points:
                raise Failed(f"copy {copy.name}: the folder holds no points any more; those at the target stay")
            _name_again(still)
        say(f"{copy.name}: sending")
        told = _restic(
            copy,
            *("backup", "--json", "--host", "maia", "--ignore-ctime", "--compression", "off"),
            *("--time", f"{_next(last):%Y-%m-%d %H:%M:%S}"),
            still,
            say=lambda line: _progress(copy, line, say),
        )
    finally:
        shutil.rmtree(still, ignore_errors=True)
    point_id = points[-1].id if points else ""
    if point_id != brought or (last and _moment(last).date() != _next(last).date()):
        _forget(copy, days, say)
    summary = json.loads(next(line for line in told.splitlines() if '"message_type":"summary"' in line))
    return {"point": point_id, "added": summary["data_added_packed"]}


def _prepare(copy: Copy) -> dict[str, Any] | None:
    """Make the repository where there is none; give back the newest snapshot."""
    try:
        last = _newest(copy)
    except Exited:
        _restic(copy, "init", "--quiet", patience=ANSWER)
        return None
    # Only those whose owner is dead: another machine's, which is at work there, is not ours to take.
    _restic(copy, "unlock", "--quiet")
    return last


def _newest(copy: Copy, moment: datetime | None = None) -> dict[str, Any] | None:
    """The newest snapshot, or the newest that is no later than ``moment``, as restic tells it."""
    found = json.loads(_restic(copy, "snapshots", "--json", "--no-lock", patience=ANSWER))
    return max((each for each in found if not moment or _moment(each) <= moment), key=_moment, default=None)


def _state(copy: Copy, moment: datetime | None = None) -> dict[str, Any]:
    """A snapshot that must be there."""
    meet(copy)
    with suppress(Exited):
        if found := _newest(copy, moment):
            return found
    raise Failed(f"copy {copy.name}: holds no recovery points" + (" as old as that" if moment else ""))


def _moment(snapshot: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(snapshot["time"]).astimezone(UTC)


def _next(last: Mapping[str, Any] | None) -> datetime:
    """Now, or just after the last one where the clock was set back: the newest state must be the last by time too."""
    now = datetime.now(UTC)
    return max(now, _moment(last) + timedelta(seconds=1)) if last else now


def clear() -> None:
    """Second names that a killed run left."""
    for folder in ARCHIVE.glob(f"{STILL}*"):
        shutil.rmtree(folder, ignore_errors=True)


def _name_again(still: Path) -> None:
    """Second names for every file that is whole."""
    shutil.rmtree(still, ignore_errors=True)
    still.mkdir(mode=0o700)
    for part in PARTS:
        for folder, _, names in os.walk(ARCHIVE / part):
            target = still / Path(folder).relative_to(ARCHIVE)
            target.mkdir(parents=True, mode=0o700)
            for name in names:
                with suppress(FileNotFoundError):  # WAL comes in meanwhile, and a file is renamed when it is whole
                    if not TEMPORARY.search(name):
                        os.link(Path(folder) / name, target / name)


def _progress(copy: Copy, line: str, say: Say) -> None:
    if '"message_type":"status"' in line:
        now = json.loads(line)
        total = now.get("total_bytes", 0)
        say(f"{copy.name}: {now.get('percent_done', 0):.0%} of {total / 1e6:.1f} MB")


def _forget(copy: Copy, days: int, say: Say) -> None:
    """Keep hourly and daily states; by their number, so that a clock that jumps takes none away."""
    say(f"{copy.name}: expiring")
    kept = ("--keep-hourly", str(HOURS), "--keep-daily", str(days))
    _restic(copy, "forget", "--prune", "--quiet", "--group-by", "host", *kept, codes=(0, LOCKED))


def verify(copy: Copy, say: Say) -> None:
    """Read every byte at the target and compare it with its hash.

    Raises:
        Failed: something differs or is missing.
    """
    _state(copy)
    say(f"{copy.name}: every byte against its hash")
    try:
        _restic(copy, "check", "--read-data", "--no-lock", "--quiet")
    except Failed as error:
        raise Failed(f"{error}; it is damaged") from None


def fetch(copy: Copy, moment: datetime | None, say: Say) -> dict[str, Any]:
    """Bring a state back into the folder; what is there already from a run that was cut short is kept.

    Args:
        moment: of the state, the newest one that is no later.

    Raises:
        Failed: it cannot be had, or does not fit.
    """
    found = _state(copy, moment)
    size, room = int(found["summary"]["total_bytes_processed"]), os.statvfs(ARCHIVE)
    free = room.f_bavail * room.f_frsize + sum(each.stat().st_size for each in ARCHIVE.rglob("*") if each.is_file())
    if free < size:
        raise Failed(f"copy {copy.name}: {size / 1e6:.0f} MB, and there is room for {free / 1e6:.0f} MB")
    say(f"{copy.name}: {size / 1e6:.1f} MB of {found['time'][:19]}")
    _restic(
        copy,
        *("restore", f"{found['id']}:{found['paths'][0]}", "--target", ARCHIVE, "--delete", "--no-lock", "--json"),
        say=lambda line: _progress(copy, line, say),
    )
    return {"time": found["time"], "size": size}


def public_key() -> str:
    """What an SSH host must let in; empty where there is no such copy."""
    path = SECRETS / "ssh"
    return run(("ssh-keygen", "-y", "-f", path)).strip() if path.exists() else ""
