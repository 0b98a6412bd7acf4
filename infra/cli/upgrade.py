"""Bring the stack to this release, or its images to today's packages, and back by itself where that fails."""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from infra.cli import common
from infra.errors import MaiaError

if TYPE_CHECKING:
    from infra.engine import Engine
    from infra.images import store
    from infra.progress import Progress, Say
    from infra.releases import Move, Record
    from infra.releases.difference import Difference
    from infra.stack import Stack


TODAYS = "nothing to do: what runs is made of today's packages"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="show what would change, and change nothing")
    parser.add_argument("--images", action="store_true", help="stay at this release, with today's packages")
    parser.add_argument("--tracker", type=Path, metavar="FILE", help="Debian's security tracker's data, as JSON")
    parser.add_argument("--json", action="store_true", help="the difference as data, with --dry-run")
    parser.add_argument("--skip-checks", action="store_true", help="verify it neither before nor after")


@dataclass(frozen=True, kw_only=True)
class Report:
    """What is printed in the end."""

    lines: list[str]
    found: Difference | None = None
    code: int = 0


def run(args: argparse.Namespace) -> int:
    from infra import releases
    from infra.progress import Progress

    stack = common.started(args)
    with common.locked(stack, "upgrade") as lock, Progress() as progress:
        if move := releases.moving(stack.site, stack.name):
            report = _go_on(stack, move, args, lock, progress)
        elif record := due(stack, images=args.images):
            report = _upgrade(stack, record, args, lock, progress)
        else:
            told = f"nothing to upgrade: release {releases.version()} runs; newer packages come with --images"
            report = Report(lines=[told])
    _print(report, as_data=args.json)
    return report.code


def _print(report: Report, *, as_data: bool) -> None:
    import json

    from infra.releases import outlook

    if report.found and as_data:
        print(json.dumps(asdict(report.found), indent=2))
        return
    if report.found and report.found.images:
        common.show(outlook.table(report.found))
    for line in (*(outlook.lines(report.found) if report.found else ()), *report.lines):
        print(line)


def due(stack: Stack, *, images: bool) -> Record | None:
    """What runs and is to be left; None where there is nothing newer.

    Raises:
        MaiaError: there is no upgrade from what runs to this release.
    """
    from infra import releases
    from infra.releases import numbers

    where, unchanged = f"stack {stack.name}", "nothing was changed"
    runs = releases.read(stack.site, stack.name)
    if runs is None:
        mend = f"maia up --stack {stack.name} with the release that brought it up"
        raise MaiaError("it is not written down what runs", where=where, mend=f"{mend}; {unchanged}")
    if runs.release == releases.version():
        return runs if images else None
    what = f"release {runs.release} runs, this is {releases.version()}"
    if images:
        raise MaiaError(what, where=where, mend=f"maia upgrade --stack {stack.name} first; {unchanged}")
    if numbers(runs.release) > numbers(releases.version()):
        mend = "an older release comes back by maia rollback, or maia restore of a point it made"
        raise MaiaError(what, where=where, mend=f"{mend}; {unchanged}")
    if runs.release not in releases.upgrades_from():
        mend = f"upgrade to one of {', '.join(releases.upgrades_from()) or 'none'} first, from which this one goes on"
        raise MaiaError(f"{what}, and no upgrade leads from one to the other", where=where, mend=f"{mend}; {unchanged}")
    return runs


def _upgrade(stack: Stack, runs: Record, args: argparse.Namespace, lock: int, progress: Progress) -> Report:
    from infra import recovery, releases
    from infra.cli import carry, up
    from infra.images import store
    from infra.releases import Move, outlook, program, taking, tracker

    known = tracker.load(args.tracker) if args.tracker else None
    with progress.step("what runs") as say:
        _refuse(stack, runs, say)
    if args.images and not _newer(runs, progress):
        return Report(found=outlook.unchanged(runs, known), lines=[TODAYS])
    packages = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ") if args.images else stack.config.packages
    engine, images = up.ready(stack, packages, progress, carries=True)
    found = outlook.ahead(stack, runs, packages, images, known)
    if args.images and (args.dry_run or not found.parts):
        store.drop(packages)
        if not found.parts:
            return Report(found=found, lines=[TODAYS])
    if args.dry_run:
        found = found if args.images else _preview(stack, engine, found, progress)
        return Report(found=found, lines=[*carry.outlook(stack)])
    for line in (*outlook.lines(found), *carry.outlook(stack)):
        progress.line(line)
    with progress.step("point") as say:
        point = str(recovery.ask(stack, "make", say=say)["id"])
    progress.line(f"what is there is kept as the point {point}")
    # Its own checks know the settings that it runs with, and no others.
    if not args.skip_checks and taking.settings(stack) == runs.settings:
        with progress.step("checks before") as say:
            program.run(stack.site, stack.name, runs, "check", lock=lock, say=say, mend="the stack was not touched")
    move = Move(source=runs.release, target=releases.version(), packages=packages, point=point, left=runs.when)
    releases.depart(stack.site, stack.name, move)
    return replace(_forward(stack, runs, move, engine, images, args, lock, progress), found=found)


def _refuse(stack: Stack, runs: Record, say: Say) -> None:
    """Keep off a stack that is not well, whose point cannot be made, or that there is no way back for.

    Raises:
        MaiaError: it is so; nothing was changed.
    """
    from infra import health, major, recovery, releases, schema
    from infra.cli import rollback

    say("looking at the parts")
    recovery.refuse_unfinished(stack)
    client = health.client(stack.place)
    found = {part: health.find(client, f"maia-{stack.name}-{part}") for part in runs.parts}
    ill = [part for part, container in found.items() if container is None or not _well(container.attrs["State"])]
    if ill:
        program = releases.folder(stack.site, stack.name, runs)
        mend = f"{program}/maia up --stack {stack.name} with the release that runs; nothing was changed"
        raise MaiaError(f"not running or not healthy: {', '.join(ill)}", where=f"stack {stack.name}", mend=mend)
    rollback.possible(stack, releases.CURRENT)
    major.refuse(stack, runs)
    schema.steps(stack.plan, stack.place, stack.home)  # raises where there is no way
    if recovery.PART not in runs.parts:
        mend = "enable it and run maia up: without a recovery point there is no upgrade; nothing was changed"
        raise MaiaError("disabled", where=f"maia:parts.{recovery.PART}", mend=mend)
    recovery.refuse_unwritable(stack)


def _well(state: dict[str, object]) -> bool:
    health = state.get("Health") or {}
    assert isinstance(health, dict)
    return state["Status"] == "running" and health.get("Status") != "unhealthy"


def _newer(runs: Record, progress: Progress) -> bool:
    from infra.images import news
    from infra.site import cache

    with progress.step("packages") as say:
        found = news.newer([cache() / image.folder for image in runs.images.values()], runs.packages, say)
        say(f"{len(found)} newer")
    return bool(found)


def _preview(stack: Stack, engine: Engine, found: Difference, progress: Progress) -> Difference:
    """With what the engine would do, as far as it can say: not before the secrets are there that are new."""
    if set(stack.plan.secrets) - stack.secret_names:
        return found
    with progress.step("preview") as say:
        counts = engine.preview(say).counts
    return replace(found, resources={what: count for what, count in sorted(counts.items()) if what != "same"})


# -- forward, and back ------------------------------------------------------------------------------------------------


def _go_on(stack: Stack, move: Move, args: argparse.Namespace, lock: int, progress: Progress) -> Report:
    """Finish what was cut short, the way it was going."""
    from infra import releases
    from infra.cli import rollback, up

    told = releases.cut_short(move)
    if args.dry_run or (move.target != releases.version() and not move.back):
        raise MaiaError(told, where=f"stack {stack.name}", mend=releases.ways_on(move, stack.name))
    if move.back:
        progress.line(f"{told}: it is ended now")
        arrived, _ = rollback.back(stack, move, lock, progress, skip_checks=args.skip_checks)
        rollback.arrive(stack, arrived)
        serves = move.source if move.back == releases.CURRENT else move.target
        return Report(lines=[f"undone:   release {serves} serves again"], code=1)
    progress.line(f"{told}: it is finished now")
    runs = rollback.possible(stack, releases.origin(stack.site, stack.name, move))
    engine, images = up.ready(stack, move.packages, progress, carries=True)
    return _forward(stack, runs, move, engine, images, args, lock, progress)


def _forward(
    stack: Stack,
    runs: Record,
    move: Move,
    engine: Engine,
    images: dict[str, store.Image],
    args: argparse.Namespace,
    lock: int,
    progress: Progress,
) -> Report:
    from infra import releases
    from infra.cli import carry, rollback
    from infra.releases import taking

    try:
        _bring(stack, runs, move, engine, images, progress, skip_checks=args.skip_checks)
    except Exception as error:  # whatever it was: the old release is to serve again
        what = f"{error.where}: {error.what}" if isinstance(error, MaiaError) and error.where else str(error)
        progress.line(f"the upgrade failed: {what}")
        try:
            back, exchanged = rollback.back(stack, move, lock, progress, skip_checks=args.skip_checks)
        except MaiaError as fault:
            mend = f"maia rollback --stack {stack.name}; before it was the point {move.point}"
            raise MaiaError(f"{what}; and the way back failed too: {fault}", where="upgrade", mend=mend) from error
        rollback.arrive(stack, back)
        data = "the data that it left" if exchanged else "all data"
        mend = f"release {runs.release} serves again, with {data}"
        raise MaiaError(what, where="upgrade undone", mend=mend) from error
    releases.write(stack.site, stack.name, releases.PREVIOUS, replace(runs, point=move.point))
    taking.keep(common.renewed(stack))
    releases.arrive(stack.site, stack.name)
    carry.tidy(stack, runs, progress)
    return Report(
        lines=[
            f"upgraded: {move.source} to {move.target}" + (f", packages of {move.packages}" if move.packages else ""),
            f"point:    {move.point}, made before it",
            f"back:     maia rollback --stack {stack.name}",
        ]
    )


def _bring(
    stack: Stack,
    runs: Record,
    move: Move,
    engine: Engine,
    images: dict[str, store.Image],
    progress: Progress,
    *,
    skip_checks: bool,
) -> None:
    """The new version, healthy and verified.

    Raises:
        MaiaError: a part did not come up, or a check failed.
    """
    from infra.cli import carry, check, up

    up.load(stack, images, progress)
    if move.packages != stack.config.packages:
        engine.configure("maia:packages", move.packages)
    stack = up.stock(common.renewed(stack), engine, progress)
    stack = carry.forward(stack, runs, engine, progress)
    up.apply(stack, engine, progress)
    if skip_checks:
        return
    result = check.verify(stack, engine, progress)
    if not result.ok:
        failed = ", ".join(row.check for row in result.failed[:5])
        raise MaiaError(f"{len(result.failed)} failed: {failed}", where="checks")
