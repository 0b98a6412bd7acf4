"""Bring the stack up, or to what its file says now, and verify it."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING

from infra.cli import common
from infra.errors import MaiaError

if TYPE_CHECKING:
    from collections.abc import Collection

    from infra.engine import Engine
    from infra.events import Outcome
    from infra.images.store import Image
    from infra.place import Place
    from infra.progress import Progress, Say
    from infra.stack import Stack


LOADING = 900.0
"""Seconds that Docker may say nothing while it takes an image in: a server's disk may be slow."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--skip-checks", action="store_true", help="do not verify it at the end")
    parser.add_argument("--refresh", action="store_true", help="look at each task of each host, not at its mark alone")
    parser.add_argument("--adopt", action="append", metavar="HOST", default=[], help="a host that may change hands")


def run(args: argparse.Namespace) -> int:
    from infra.cli import check
    from infra.progress import Progress
    from infra.releases import taking

    stack = common.selected(args)
    with common.locked(stack, "up"), Progress() as progress:
        stack, engine = prepare(stack, progress, adopt=args.adopt)
        if not stack.config.running:
            engine.configure("maia:running", "true")
            stack = common.selected(args)
        _refuse_unknown(stack, args.adopt)
        outcome = apply(stack, engine, progress, thorough=args.refresh, adopt=args.adopt)
        taking.keep(stack)
        result = None if args.skip_checks else check.verify(stack, engine, progress)
    _summary(stack, outcome, progress)
    return 0 if result is None else check.report(result)


def prepare(stack: Stack, progress: Progress, *, adopt: Collection[str] = ()) -> tuple[Stack, Engine]:
    """Everything before the engine's turn: server, preflight, Docker, engine, images, secrets."""
    from infra import recovery

    recovery.refuse_unfinished(stack)
    if stack.place.name and not _ready(stack):
        _prepare_server(stack, progress, adopt)
        stack = common.renewed(stack)
    engine, images = ready(stack, stack.config.packages, progress)
    engine.refuse_elsewhere(stack.plan.on)
    load(stack, images, progress)
    return stock(stack, engine, progress), engine


def _ready(stack: Stack) -> bool:
    """Whether Docker answers where the parts are to run."""
    from infra import machine, preflight

    try:
        return stack.met and stack.place.call(machine.docker_state, str(preflight.SOCKET)) == "answers"
    except MaiaError:
        return False


def _prepare_server(stack: Stack, progress: Progress, adopt: Collection[str]) -> None:
    """The server's own turn, where everything that comes before the parts needs it."""
    from infra import initialise

    ahead = dataclasses.replace(stack, ahead=True)
    engine = _engine(stack, progress)
    with progress.step("secrets") as say:
        initialise.ensure(ahead, engine, say)
    with progress.step(f"host {stack.place.name}") as say:
        engine.recover(say)
        for note in engine.prepare(say, stack.place.name, adopt=adopt).notes:
            progress.line(f"host {note}")


def ready(stack: Stack, packages: str, progress: Progress, *, carries: bool = False) -> tuple[Engine, dict[str, Image]]:
    """What can be made ready without touching the stack: preflight, Docker, engine, images.

    Args:
        carries: data of an older Postgres is no hindrance, because it will be carried over.
    """
    from infra import preflight

    with progress.step("preflight") as say:
        preflight.check(stack.planned(packages), stack.site, say, at=stack.place, carries=carries)
    ensure_docker(progress, stack.place)
    engine, images = common.together(lambda: _engine(stack, progress), lambda: _images(stack, packages, progress))
    return engine, images


def stock(stack: Stack, engine: Engine, progress: Progress) -> Stack:
    """Make the secrets that are missing."""
    from infra import initialise, leftovers
    from infra.stack import Stack

    with progress.step("secrets") as say:
        if not engine.exists():
            leftovers.refuse_foreign(stack)
        made = initialise.ensure(Stack(stack.name, stack.site), engine, say)
        say(f"{len(made)} made" if made else "nothing to make")
    return Stack(stack.name, stack.site)


def ensure_docker(progress: Progress, at: Place | None = None) -> None:
    """Docker, unless the parts run elsewhere, and what builds images, where either is missing."""
    from infra import preflight
    from infra.place import HERE

    if preflight.missing(at or HERE):
        from infra import converge
        from infra.images import build

        with progress.step("docker") as say:
            converge.role("docker", {"docker_builder_packages": build.requirements()}, say)


def _refuse_unknown(stack: Stack, hosts: Collection[str]) -> None:
    from infra.config import nearest

    known = [host.name for host in stack.plan.hosts]
    for name in hosts:
        if name not in known:
            raise MaiaError(f"no host {name!r}", where="--adopt", mend=nearest(name, known))


def apply(
    stack: Stack, engine: Engine, progress: Progress, *, thorough: bool = False, adopt: Collection[str] = ()
) -> Outcome:
    """The engine's turn, after what the state does not know was put right; then all parts must be healthy."""
    from infra import health, leftovers

    with progress.step("pulumi up") as say:
        leftovers.end_exchanges(stack, say, well=False)
        cut_short = engine.recover(say)
        # A state that knows nothing and was not cut short is no ground to remove what another site may own.
        if (known := engine.known()) or cut_short:
            leftovers.remove_unknown(stack, known, say)
        _revive(stack, say)
        try:
            outcome = engine.up(say, thorough=thorough, adopt=adopt)
        finally:
            leftovers.end_exchanges(stack, say, well=True)
    if stack.plan.running:
        with progress.step("health") as say:
            health.wait(stack.plan, health.client(stack.place), say)
    return outcome


def _revive(stack: Stack, say: Say) -> None:
    """What cannot be started as it is may be what this run is to put right: go on."""
    from docker.errors import APIError

    from infra import health

    try:
        health.revive(stack.plan, health.client(stack.place), say)
    except (MaiaError, APIError) as error:
        say(" ".join(str(error).split()))


def _engine(stack: Stack, progress: Progress) -> Engine:
    with progress.step("engine") as say:
        return common.engine(stack, say)


def _images(stack: Stack, packages: str, progress: Progress) -> dict[str, Image]:
    from infra.images import build, store

    with progress.step("images") as say:
        names = sorted({c.image for c in stack.plan.containers} & store.names())
        return build.build(names, say, vendor=store.vendored(), packages=packages)


def load(stack: Stack, images: dict[str, Image], progress: Progress) -> None:
    """Have Docker know all that is to run."""
    from infra import health, owner
    from infra.images import store

    with progress.step("loading") as say:
        client = health.client(stack.place, LOADING)
        say("into Docker")
        for image in images.values():
            if sent := store.load(client, image):
                say(f"{image.name}: {common.size(sent)} of {common.size(image.size)} sent")
        for where, source in stack.sources.items():
            owner.load(client, where, source, say)


def _summary(stack: Stack, outcome: Outcome, progress: Progress) -> None:
    from infra import away, health, recovery, served

    plan = stack.plan
    changed = ", ".join(f"{count} {what}" for what, count in sorted(outcome.counts.items()) if what != "same")
    common.show(progress.table())
    print(f"\nchanges: {changed or 'none'}")
    for note in outcome.notes:
        print(f"host:    {note}")
    for container in plan.containers:
        for port in container.published:
            print(f"listens: {port.address}:{port.port} ({container.part})")
    print(f"open:    {plan.origin}/")
    print(f"log in:  operator, with the password that `maia secrets show operator --stack {plan.stack}` prints")
    if told := served.told(plan, health.client(stack.place)):
        print(f"shows:   {told}")
    print(f"trust:   {stack.site.files(stack.name) / 'gateway' / 'config' / 'ca.crt'} is the CA for your browser")
    if plan.has(recovery.PART):
        print(f"backups: {recovery.where(stack)}")
        for line in away.told(stack):
            print(f"copy:    {line}")
        print(f"keep:    the recovery key, off this machine: `maia secrets show recovery --stack {stack.name}`")
    for part, reason in plan.absences():
        print(f"absent:  {part}: {reason}")
