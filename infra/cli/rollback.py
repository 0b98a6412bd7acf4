"""Go back to what ran before the last upgrade: its program, its images, its settings."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

from infra.cli import common
from infra.errors import MaiaError

if TYPE_CHECKING:
    from infra.progress import Progress
    from infra.releases import Move, Record
    from infra.stack import Stack


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", action="store_true", help="also restore the point that was made before the upgrade")
    parser.add_argument("--skip-checks", action="store_true", help="do not verify it at the end")


def run(args: argparse.Namespace) -> int:
    from infra import releases
    from infra.cli import carry, restore
    from infra.progress import Progress
    from infra.releases import program

    stack = common.started(args)
    site, name = stack.site, stack.name
    with common.locked(stack, "rollback") as lock, Progress() as progress:
        move = releases.moving(site, name)
        record = possible(stack, releases.origin(site, name, move) if move else releases.PREVIOUS)
        move = move or _departure(stack, record)
        carried = carry.refuse(stack, record, data=args.data)
        if args.data and not carried and not move.point:
            mend = "maia rollback without --data, then maia restore"
            raise MaiaError("no point was made before that upgrade", where="--data", mend=mend)
        if carried:
            restore.last_chance(stack, progress)
        move, _ = back(stack, move, lock, progress, skip_checks=args.skip_checks)
        if args.data and not carried:
            with progress.step("data") as say:
                program.run(site, name, record, "restore", move.point, lock=lock, say=say)
        arrive(stack, move)
    print(f"back:    release {record.release} serves again, as it was set up on {record.when}")
    print(f"data:    {_told(move, data=args.data, carried=carried)}")
    print(f"verbs:   {releases.folder(site, name, record)}/maia is its program")
    return 0


def _told(move: Move, *, data: bool, carried: bool) -> str:
    if carried:
        return "of Postgres it is what that release left; what was written since is in the last-chance point"
    return f"the point {move.point} is back" if data else "what was written since is kept"


def possible(stack: Stack, name: str) -> Record:
    """The record to go back to.

    Raises:
        MaiaError: there is none, or what it takes is not there any more.
    """
    from infra import releases

    record = releases.read(stack.site, stack.name, name)
    mend = "maia restore brings back a point of maia backups list; nothing was changed"
    if record is None:
        raise MaiaError("no upgrade was made that could be undone", where=f"stack {stack.name}", mend=mend)
    folder = releases.folder(stack.site, stack.name, record)
    if not (folder / "maia").exists():
        raise MaiaError(f"the program of release {record.release} is gone", where=str(folder), mend=mend)
    if gone := releases.missing(record):
        what = f"images of release {record.release} are gone: {', '.join(gone)}"
        raise MaiaError(what, where=f"stack {stack.name}", mend=mend)
    return record


def _departure(stack: Stack, record: Record) -> Move:
    """The first step back from an upgrade that came to its end."""
    from infra import releases
    from infra.releases import Move

    runs = releases.read(stack.site, stack.name)
    return Move(
        source=runs.release if runs else "",
        target=record.release,
        packages=record.packages,
        point=record.point,
        left=runs.when if runs else "",
        back=releases.PREVIOUS,
    )


def back(stack: Stack, move: Move, lock: int, progress: Progress, *, skip_checks: bool) -> tuple[Move, bool]:
    """Have the release that ran before run again; where this is killed, it is done again from its start.

    Returns:
        The move, with the record that it went back to; and whether the data was exchanged for what that release left,
        because it reads no other.

    Raises:
        MaiaError: it did not come up, or its checks failed.
    """
    from infra import releases
    from infra.cli import carry
    from infra.releases import program

    move = replace(move, back=releases.origin(stack.site, stack.name, move))
    record = possible(stack, move.back)
    releases.depart(stack.site, stack.name, move)
    exchanged = carry.back(stack, record, progress)
    settle(stack, record)
    words = ("up", "--skip-checks") if skip_checks else ("up",)
    with progress.step(f"back to release {record.release}") as say:
        program.run(stack.site, stack.name, record, *words, lock=lock, say=say)
    return move, exchanged


def arrive(stack: Stack, move: Move) -> None:
    """It runs: the way is at its end, and was not one to go twice."""
    from infra import releases

    releases.arrive(stack.site, stack.name)
    if move.back == releases.PREVIOUS:
        releases.forget(stack.site, stack.name, releases.PREVIOUS)


def settle(stack: Stack, record: Record) -> None:
    """Put the settings back that ran with it, which its program knows; secrets stay those of today."""
    import yaml

    from infra import atomic
    from infra.config import PREFIX

    document = yaml.safe_load(stack.file.read_text())
    kept = {key: value for key, value in document["config"].items() if not key.startswith(PREFIX)}
    wanted = kept | {PREFIX + key: value for key, value in record.settings.items()}
    if wanted == document["config"]:
        return
    atomic.write(stack.file, yaml.safe_dump(document | {"config": wanted}))
