"""Restore the newest point into a stack beside, prove that it is whole, and remove that stack again."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from infra.cli import common
from infra.errors import MaiaError

if TYPE_CHECKING:
    from infra.drill import Drill
    from infra.progress import Progress
    from infra.recovery import Archive
    from infra.stack import Stack


CHECKS = "not latency"
"""Which checks a drill makes: how fast a machine is that carries two stacks says nothing of the point."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--schedule", choices=("weekly", "monthly", "off"), help="a timer of this machine's systemd")
    parser.add_argument("--verify", type=Path, metavar="FILE", help="whether a result is genuine")
    parser.add_argument("--key", type=Path, metavar="FILE", help="the public key to verify it with (the stack's own)")


def run(args: argparse.Namespace) -> int:
    if args.key and not args.verify:
        raise MaiaError("--key goes with --verify", where="drill", mend="maia drill --help")
    if args.verify:
        return _verify(args)
    mend = "bring its archive here, restore that with --archive and --key, and drill it"
    common.refuse_elsewhere(common.started(args), "drill", mend)
    return _schedule(args) if args.schedule else _drill(args)


def _drill(args: argparse.Namespace) -> int:
    from docker.errors import DockerException

    from infra import drill, recovery, signature
    from infra.cli import restore
    from infra.drill import Drill
    from infra.progress import Progress
    from infra.recovery import Archive
    from infra.stack import Stack

    source = common.started(args)
    side = Stack(drill.side(source.name), source.site)
    with common.locked(side, "drill"), Progress() as progress:
        _refuse_owned(side)
        recovery.running(source)
        with progress.step("engine") as say:
            secrets = common.engine(source, say).secrets()
        key = common.signing(source, secrets)
        restore.ready(progress, source.place)
        _clear(side, progress)
        with progress.step("archive") as say:
            made = Drill(source.name, recovery.ask(source, "behind", say=say))
        path = drill.folder(source.site, source.name) / f"{made.id}.json"
        try:
            try:
                _restore(made, side, Archive.of(source, secrets), progress)
            except (MaiaError, DockerException, OSError) as error:  # not Ctrl-C: one that was broken off says nothing
                made.error = " ".join(str(error).split())
            signature.sign(path, made.document(), key)
            _report(source, made, progress)
        finally:
            _clear(side, progress)
            source.site.lock(side.name).unlink(missing_ok=True)
    return _tell(made, path)


def _restore(made: Drill, side: Stack, archive: Archive, progress: Progress) -> None:
    from infra.cli import restore

    side.site.drilling(side.name).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    side.site.drilling(side.name).touch()
    contents = restore.look(side, archive, "latest", progress)
    made.manifest = contents.manifest
    restore.begin(side, contents, aside=True)
    side, engine = restore.initialised(side, contents, progress)
    point = str(contents.manifest["id"])
    brought = restore.bring(side, engine, archive, point, "", progress, keyword=CHECKS)
    made.ended = datetime.now(UTC)
    made.restored, made.checks = brought.found, brought.checks.counts
    made.failed = [
        {"check": row.check, "controls": list(row.controls), "reason": row.reason} for row in brought.checks.failed
    ]


def _report(source: Stack, made: Drill, progress: Progress) -> None:
    """Have the backup part remember it, for alerts and checks."""
    import json

    from infra import recovery

    outcome = {"error": made.wrong, "rto": made.rto, "rpo": made.rpo}
    with progress.step("report") as say:
        recovery.ask(source, "drilled", json.dumps(outcome), say=say)


def _refuse_owned(side: Stack) -> None:
    """Keep off a stack of the owner's that happens to have the name.

    Raises:
        MaiaError: there is one.
    """
    if side.exists() and not side.site.drilling(side.name).exists():
        raise MaiaError("is a stack of yours, and a drill needs its name", where=side.name, mend="destroy it first")


def end(source: Stack, progress: Progress) -> None:
    """Remove what drills of a stack have left."""
    from infra import drill
    from infra.stack import Stack

    side = Stack(drill.side(source.name), source.site)
    with common.locked(side, "destroy"):
        _clear(side, progress)
        side.site.lock(side.name).unlink(missing_ok=True)


def _clear(side: Stack, progress: Progress) -> None:
    """Remove what this drill has made, or one that was killed has left."""
    from infra.cli import destroy

    mark = side.site.drilling(side.name)
    if mark.exists():
        destroy.remove(side, progress, ours=True)
        mark.unlink()


def _tell(made: Drill, path: Path) -> int:
    from infra.progress import seconds

    if made.wrong:
        raise MaiaError(f"red: {made.wrong}", where=f"drill {made.id}", mend=f"evidence in {path}")
    compared = made.document()["compared"]
    objects = compared["objects"]
    files = f" and {objects['files']} files of objects" if objects else ""
    print(f"drilled:  the point {made.manifest['id']} of {made.manifest['moment'][:19]}, restored and checked")
    print(f"compared: {compared['rows']} rows in {compared['tables']} tables{files} are what its manifest says")
    print(f"times:    back within {seconds(made.rto)} (RTO); {seconds(made.rpo)} of writing would be lost (RPO)")
    print(f"evidence: {path}")
    return 0


def _schedule(args: argparse.Namespace) -> int:
    from infra import timer

    stack = common.started(args)
    if args.schedule == "off":
        print("the timer is gone" if timer.remove(stack.name, stack.site) else "there was no timer")
        return 0
    timer.install(stack.name, stack.site, args.schedule)
    print(f"{args.schedule}, by {timer.name(stack.name)}.timer; `systemctl list-timers` says when next")
    return 0


def _verify(args: argparse.Namespace) -> int:
    from infra import signature

    if args.key:
        key = signature.read_key(args.key)
    else:
        stack = common.started(args)
        key = common.signing(stack, common.engine(stack, lambda text: None).secrets()).public_key()
    found = signature.verify(args.verify, key)
    outcome = "green" if found["green"] else "red"
    print(f"genuine: drill {found['id']} of the stack {found['stack']}, {outcome}, signed with {signature.name(key)}")
    return 0
