"""The archive of all else: a restic repository, where a snapshot is named by its tags."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.backup.command import Exited, Failed, Say, lines, run
from app.backup.places import ARCHIVE, SECRETS

REPOSITORY = ARCHIVE / "restic"
WRITING = ("backup", "forget", "init", "unlock")
"""Commands that change it. Others take no lock: they may look at an archive that they cannot write to."""

UNREADABLE = 3
"""restic's exit code where it made a snapshot without some of the files."""
GONE = "no such file or directory"


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    id: str
    tree: str
    """Hash over every file's content and metadata below it."""
    tags: tuple[str, ...]
    files: int
    bytes: int
    added: int
    """Bytes that it added to the archive."""


def restic(*words: str | Path, say: Say | None = None, codes: Sequence[int] = (0,)) -> str:
    return run(_command(*words), say=say, codes=codes)


def _command(*words: str | Path) -> tuple[str | Path, ...]:
    return (
        *("restic", *words, "--repo", REPOSITORY, "--password-file", SECRETS / "restic", "--no-cache"),
        *(() if words[0] in WRITING else ("--no-lock",)),
    )


def prepare() -> None:
    """Make the repository where there is none, and take back locks that killed runs left.

    The caller is the only one at work here, so every lock is left over.
    """
    if not (REPOSITORY / "config").exists():
        restic("init", "--quiet")
    # Every call derives the key anew, which is meant to take a while: none is made for nothing.
    if any((REPOSITORY / "locks").iterdir()):
        restic("unlock", "--remove-all", "--quiet")


def keep(paths: Sequence[Path], tags: Sequence[str], exclude: Sequence[str] = ()) -> str:
    """Take a snapshot; what the archive has already is not stored again.

    Returns:
        Its id.
    """
    told = restic(
        *("backup", "--json", "--quiet", "--host", "maia", "--tag", ",".join(tags)),
        *(f"--exclude={pattern}" for pattern in exclude),
        *paths,
        say=lambda line: None,
        codes=(0, UNREADABLE),
    )
    lines = [json.loads(line) for line in told.splitlines() if line.startswith("{")]
    for line in lines:
        # A file may go away while it is read, as a temporary one of an upload that ends. Nothing else may be left out.
        if line["message_type"] == "error" and GONE not in line["error"]["message"]:
            raise Failed(f"cannot be read: {line.get('item')}: {line['error']['message']}")
    return next(str(line["snapshot_id"]) for line in lines if line["message_type"] == "summary")


def find(snapshot: str) -> Snapshot:
    return _read(json.loads(restic("snapshots", "--json", snapshot))[0])


def snapshots(tag: str) -> list[Snapshot]:
    """Every snapshot with the tag, the oldest first."""
    found = json.loads(restic("snapshots", "--json", "--tag", tag))
    return [_read(each) for each in sorted(found, key=lambda each: str(each["time"]))]


def _read(found: dict[str, Any]) -> Snapshot:
    summary = found.get("summary", {})
    return Snapshot(
        id=found["id"],
        tree=found["tree"],
        tags=tuple(found.get("tags") or ()),
        files=summary.get("total_files_processed", 0),
        bytes=summary.get("total_bytes_processed", 0),
        added=summary.get("data_added_packed", 0),
    )


def folders(snapshot: str, path: Path) -> list[str]:
    """The folders that stand just below ``path``, apart from hidden ones."""
    found = [json.loads(line) for line in restic("ls", "--json", snapshot, path).splitlines()]
    paths = [Path(each["path"]) for each in found if each.get("type") == "dir"]
    return [each.name for each in paths if each.parent == path and not each.name.startswith(".")]


def files(snapshot: str, path: Path) -> Iterator[str]:
    """Every file below ``path``, one by one: there may be more of them than there is memory."""
    for line in lines(_command("ls", "--json", "--recursive", snapshot, path)):
        found = json.loads(line)
        if found.get("type") == "file":
            yield str(found["path"])


def dump(snapshot: str, path: Path) -> str:
    """The text of one file of a snapshot."""
    try:
        return restic("dump", snapshot, path)
    except Exited as error:
        raise Failed(f"the archive is damaged: {error.lines[-1] if error.lines else error}") from None


def restore(snapshot: str, path: Path, target: Path, say: Say) -> None:
    """Put what the snapshot holds below ``path`` into ``target``, then compare every file with the archive's hash."""
    restic("restore", f"{snapshot}:{path}", "--target", target, "--verify", "--quiet", say=say)


def forget(snapshots: Sequence[str], say: Say) -> None:
    """Drop snapshots, and what no other one holds."""
    if snapshots:
        restic("forget", "--prune", "--quiet", *snapshots, say=say)


def check() -> None:
    """See that every file of the archive is there in its size.

    Raises:
        Failed: one is not.
    """
    try:
        restic("check", "--quiet")
    except Failed as error:
        raise Failed(f"the restic repository is damaged: {error}") from None


def verify(say: Say) -> None:
    """Read every byte of the archive again and compare it with its hash.

    Raises:
        Failed: something differs or is missing.
    """
    try:
        restic("check", "--read-data", "--quiet")
    except Failed as error:
        raise Failed(f"the restic repository is damaged: {error}") from None
