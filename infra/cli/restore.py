"""Bring a recovery point back, into this stack or into one beside it."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from infra.cli import common
from infra.errors import MaiaError

if TYPE_CHECKING:
    from infra.engine import Engine
    from infra.progress import Progress
    from infra.recovery import Archive, Contents
    from infra.site import Site
    from infra.stack import Stack

SPARE = 1.2
"""Room that must be there, times what the point takes."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("point", nargs="?", help="as `maia backups list` names it (latest)")
    parser.add_argument("--time", default="", metavar="T", help="any moment instead, as 2026-01-31T12:00:00Z")
    parser.add_argument("--into", metavar="STACK", help="a stack beside this one, to look before you leap")
    parser.add_argument("--archive", type=Path, metavar="DIR", help="a folder of points from elsewhere")
    parser.add_argument("--key", type=Path, metavar="FILE", help="the recovery key of that folder")
    parser.add_argument("--no-last-chance", action="store_true", help="make no point of what is there now first")


def run(args: argparse.Namespace) -> int:
    from infra import recovery, revoked
    from infra.cli import check, up
    from infra.progress import Progress
    from infra.releases import taking
    from infra.site import Site
    from infra.stack import Stack

    site = Site.current()
    target = Stack(args.into or args.stack, site)
    with common.locked(target, "restore"), Progress() as progress:
        _ready(progress)
        archive = _archive(args, site, progress)
        with progress.step("preflight") as say:
            say("reading the point")
            contents = recovery.look(target.name, site, archive, args.point or _meant(target), say)
            _preflight(contents)
        # From here on by its id: the last-chance point will be the latest.
        point = str(contents.manifest["id"])
        fresh = not target.exists()
        if fresh:
            _begin(target, contents, aside=args.into is not None)
        unfinished = site.unfinished(target.name).exists()
        target, engine = _engine(target, contents if fresh else None, progress)
        if not fresh and not unfinished:
            last_chance(target, progress, wanted=not args.no_last_chance)
        if not fresh:
            engine.configure("maia:running", "false")
            up.apply(Stack(target.name, site), engine, progress)
        with progress.step("restore") as say:
            found = recovery.fill(target, archive, point, args.time, say)
        engine.configure("maia:running", "true")
        target, engine = up.prepare(Stack(target.name, site), progress)
        up.apply(target, engine, progress)
        taking.keep(target)
        with progress.step("logins") as say:
            revoked.remove(target.plan, site, engine.secrets(), say)
        result = check.verify(target, engine, progress)
    print(f"restored: {found['point']} into the stack {target.name}, open at {target.plan.origin}/")
    if found["differs"]:
        print(f"differs:  {', '.join(found['differs'])}")
    elif found["compared"]:
        print("compared: every table is what the point's manifest says")
    return check.report(result) or int(bool(found["differs"]))


def _meant(target: Stack) -> str:
    """The point of a restore that was cut short, else the newest."""
    mark = target.site.unfinished(target.name)
    return mark.read_text().strip() if mark.exists() else "latest"


def _ready(progress: Progress) -> None:
    """Docker, and the image that reads archives."""
    from infra import health
    from infra.catalog.backup import SERVICE
    from infra.cli import up
    from infra.images import build, store

    up.ensure_docker(progress)
    with progress.step("image") as say:
        image = build.build([SERVICE.image], say, vendor=store.vendored())[SERVICE.image]
        store.load(health.client(), image)


def _archive(args: argparse.Namespace, site: Site, progress: Progress) -> Archive:
    from infra import recovery
    from infra.recovery import KEY, Archive

    if (args.archive is None) != (args.key is None):
        raise MaiaError("--archive and --key go together", where="restore", mend="name both")
    if args.archive:
        if not args.key.is_file():
            raise MaiaError("no such file", where=str(args.key), mend="write the recovery key into a file")
        return Archive(args.archive.resolve(), args.key.read_text().strip())
    source = common.started(args)
    with progress.step("engine") as say:
        secrets = common.engine(source, say).secrets()
    folder = source.site.archive(source.name, source.config.backup.folder or "")
    if args.time and source.plan.running:
        with progress.step("flush") as say:
            recovery.ask(source, "flush", say=say)
    return Archive(folder, secrets[KEY])


def _preflight(contents: Contents) -> None:
    """Refuse what cannot end well, before anything is changed."""
    from infra import health
    from infra.releases import numbers, version

    release = str(contents.manifest["release"])
    if numbers(release) > numbers(version()):
        raise MaiaError(
            f"made by release {release}, this one is {version()}",
            where=str(contents.manifest["id"]),
            mend="restore with that release or a newer one; nothing was changed",
        )
    free = shutil.disk_usage(health.client().info()["DockerRootDir"]).free
    if free < contents.size * SPARE:
        raise MaiaError(
            f"takes {common.size(contents.size)}, and {common.size(free)} are free",
            where=str(contents.manifest["id"]),
            mend="make room; nothing was changed",
        )


def _begin(target: Stack, contents: Contents, *, aside: bool) -> None:
    """The stack file of a stack that is not here yet."""
    import yaml

    from infra import recovery

    settings = recovery.beside(contents.settings) if aside else contents.settings
    target.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    document = {"config": {f"maia:{key}": value for key, value in settings.items()} | {"maia:running": False}}
    partial = target.file.with_suffix(".partial")
    partial.write_text(yaml.safe_dump(document))
    partial.chmod(0o600)
    partial.replace(target.file)


def _engine(target: Stack, contents: Contents | None, progress: Progress) -> tuple[Stack, Engine]:
    """The engine on the stack; a new one gets the secrets of the point."""
    from infra import initialise
    from infra.stack import Stack

    with progress.step("engine") as say:
        engine = common.engine(target, say)
        initialise.make_site(target.site)
        if not engine.exists():
            engine.ensure_stack()
        if contents:
            for count, (name, value) in enumerate(contents.secrets.items(), 1):
                say(f"secret {count} of {len(contents.secrets)}")
                engine.set_secret(name, value)
    return Stack(target.name, target.site), engine


def last_chance(target: Stack, progress: Progress, *, wanted: bool = True) -> None:
    """A point of what is there now, in case the other one was not meant."""
    from infra import health, recovery

    container = health.find(health.client(), target.plan.container(recovery.PART).name)
    if not wanted or container is None or container.status != "running":
        progress.line("no last-chance point was made of what is there now")
        return
    with progress.step("last-chance backup") as say:
        made = recovery.ask(target, "make", say=say)
        say(f"point {made['id']}")
    progress.line(f"what was there is kept as the point {made['id']}")
