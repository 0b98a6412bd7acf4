"""Bring a recovery point back, into this stack or into one beside it."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.cli import common
from infra.errors import MaiaError

if TYPE_CHECKING:
    from checks import Result
    from infra.engine import Engine
    from infra.place import Place
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
    parser.add_argument("--database", metavar="NAME", help="one database alone, beside the live one")
    parser.add_argument("--table", default="", metavar="SCHEMA.NAME", help="of that database, the rows of one table")
    parser.add_argument("--bucket", metavar="NAME", help="one bucket alone, beside the live one")
    parser.add_argument("--as", dest="side", metavar="NAME", help="what it is called then (its name and the point's)")
    parser.add_argument("--archive", type=Path, metavar="DIR", help="a folder of points from elsewhere")
    parser.add_argument("--key", type=Path, metavar="FILE", help="the recovery key of that folder or copy")
    parser.add_argument("--copy", metavar="COPY", help="a copy, by its name or a file with its entry in the stack file")
    parser.add_argument("--as-of", default="", metavar="T", help="the state of the copy at that time (the newest)")
    parser.add_argument("--secret", type=Path, metavar="FILE", help="the secret key of S3 of that file's copy")
    parser.add_argument("--no-last-chance", action="store_true", help="make no point of what is there now first")


def run(args: argparse.Namespace) -> int:
    from infra import away, recovery
    from infra.cli import aside, check, up
    from infra.progress import Progress
    from infra.site import Site
    from infra.stack import Stack

    aside.refuse(args)
    if args.into or args.archive or args.copy:
        for stack in {args.stack, args.into or args.stack}:
            mend = "restore a point of its own archive in its place; or bring that archive here, for another stack"
            common.refuse_elsewhere(Stack(stack, Site.current()), "restore --into, --archive, --copy", mend)
    if args.database or args.bucket:
        return aside.run(args)
    site = Site.current()
    target = Stack(args.into or args.stack, site)
    with common.locked(target, "restore"), Progress() as progress:
        ready(progress, target.place)
        source = _fetched(args, target, progress) if args.copy else archive(args, site, progress)
        contents = look(target, source, args.point or _meant(target), progress)
        # From here on by its id: the last-chance point will be the latest.
        point = str(contents.manifest["id"])
        fresh = not target.exists()
        if not fresh:
            with progress.step("archive") as say:
                words = ["--time", args.time] if args.time else []
                recovery.job(target.name, site, source, "check", point, *words, say=say)
        if fresh and args.copy and not args.into:
            folder = (contents.settings.get("backup") or {}).get("folder") or ""
            source = replace(source, folder=away.settle(target, source.folder, folder))
        if fresh:
            begin(target, contents, aside=args.into is not None)
        unfinished = site.unfinished(target.name).exists()
        target, engine = initialised(target, contents if fresh else None, progress)
        if not fresh and not unfinished:
            last_chance(target, progress, wanted=not args.no_last_chance)
        if not fresh:
            engine.configure("maia:running", "false")
            up.apply(Stack(target.name, site), engine, progress)
        brought = bring(target, engine, source, point, args.time, progress)
        if not target.place.name:
            away.forget(target.name, site)
    found = brought.found
    print(f"restored: {found['point']} into the stack {target.name}, open at {brought.stack.plan.origin}/")
    if found["differs"]:
        print(f"differs:  {', '.join(found['differs'])}")
    elif found["compared"]:
        print("compared: every table is what the point's manifest says")
    return check.report(brought.checks) or int(bool(found["differs"]))


@dataclass(frozen=True)
class Brought:
    """A stack that was filled, is up, and was checked."""

    stack: Stack
    found: dict[str, Any]
    """What was put back, and what differs from the manifest."""
    checks: Result


def bring(
    target: Stack,
    engine: Engine,
    archive: Archive,
    point: str,
    moment: str,
    progress: Progress,
    *,
    keyword: str | None = None,
) -> Brought:
    """Fill the volumes of a stack that is down, start it and check it: all, or what matches ``keyword``."""
    from infra import recovery, revoked
    from infra.cli import check, up
    from infra.releases import taking
    from infra.stack import Stack

    with progress.step("restore") as say:
        found = recovery.fill(target, archive, point, moment, say)
    engine.configure("maia:running", "true")
    target, engine = up.prepare(Stack(target.name, target.site), progress)
    up.apply(target, engine, progress)
    taking.keep(target)
    with progress.step("logins") as say:
        revoked.remove(target, engine.secrets(), say)
    return Brought(target, found, check.verify(target, engine, progress, keyword=keyword))


def _meant(target: Stack) -> str:
    """The point of a restore that was cut short, else the newest."""
    mark = target.site.unfinished(target.name)
    return mark.read_text().strip() if mark.exists() else "latest"


def ready(progress: Progress, at: Place) -> None:
    """Docker, and the image that reads archives, where they are to be read."""
    from infra import health
    from infra.catalog.backup import SERVICE
    from infra.cli import up
    from infra.images import build, store

    up.ensure_docker(progress, at)
    with progress.step("image") as say:
        image = build.build([SERVICE.image], say, vendor=store.vendored())[SERVICE.image]
        store.load(health.client(at, up.LOADING), image)


def archive(args: argparse.Namespace, site: Site, progress: Progress) -> Archive:
    from infra import recovery
    from infra.recovery import Archive

    if (args.archive is None) != (args.key is None):
        raise MaiaError("--archive and --key go together", where="restore", mend="name both")
    if args.archive:
        return Archive(args.archive.resolve(), _text(args.key))
    source = common.started(args)
    with progress.step("engine") as say:
        secrets = common.engine(source, say).secrets()
    if args.time and source.plan.running:
        with progress.step("flush") as say:
            recovery.ask(source, "flush", say=say)
    return Archive.of(source, secrets)


def look(target: Stack, archive: Archive, point: str, progress: Progress, *, room: float = SPARE) -> Contents:
    """Read a point; nothing is changed yet, and one that cannot end well is refused."""
    from infra import recovery

    with progress.step("preflight") as say:
        say("reading the point")
        contents = recovery.look(target.name, target.site, archive, point, say)
        _preflight(contents, room, archive.at)
    return contents


def _fetched(args: argparse.Namespace, target: Stack, progress: Progress) -> Archive:
    """The folder that a copy holds, brought here."""
    from infra import away
    from infra.recovery import Archive

    if args.archive:
        raise MaiaError("--archive and --copy are two sources", where="restore", mend="name one")
    if Path(args.copy).is_file():
        if args.key is None:
            raise MaiaError("--copy with a file and --key go together", where="restore", mend="name both")
        source = away.of_file(Path(args.copy), _text(args.key), _text(args.secret) if args.secret else "")
    else:
        stack = common.started(args)
        with progress.step("engine") as say:
            source = away.of_stack(stack, args.copy, common.engine(stack, say).secrets())
    with progress.step("copy") as say:
        return Archive(away.fetch(target.name, target.site, source, args.as_of, say), source.key)


def _text(path: Path) -> str:
    if not path.is_file():
        raise MaiaError("no such file", where=str(path), mend="write the key into a file")
    return path.read_text().strip()


def _preflight(contents: Contents, room: float, at: Place) -> None:
    """Refuse what cannot end well, before anything is changed."""
    from infra import health, machine
    from infra.releases import numbers, version

    release = str(contents.manifest["release"])
    if numbers(release) > numbers(version()):
        raise MaiaError(
            f"made by release {release}, this one is {version()}",
            where=str(contents.manifest["id"]),
            mend="restore with that release or a newer one; nothing was changed",
        )
    free = at.call(machine.free, health.client(at).info()["DockerRootDir"]) * 2**20
    if free < contents.size * room:
        raise MaiaError(
            f"takes {common.size(int(contents.size * room))}, and {common.size(free)} are free",
            where=str(contents.manifest["id"]),
            mend="make room; nothing was changed",
        )


def begin(target: Stack, contents: Contents, *, aside: bool) -> None:
    """The stack file of a stack that is not here yet."""
    import yaml

    from infra import atomic, recovery

    settings = recovery.beside(contents.settings) if aside else recovery.here(contents.settings)
    target.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    document = {"config": {f"maia:{key}": value for key, value in settings.items()} | {"maia:running": False}}
    atomic.write(target.file, yaml.safe_dump(document))


def initialised(target: Stack, contents: Contents | None, progress: Progress) -> tuple[Stack, Engine]:
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

    container = health.find(health.client(target.place), target.plan.container(recovery.PART).name)
    if not wanted or container is None or container.status != "running":
        progress.line("no last-chance point was made of what is there now")
        return
    with progress.step("last-chance backup") as say:
        made = recovery.ask(target, "make", say=say)
        say(f"point {made['id']}")
    progress.line(f"what was there is kept as the point {made['id']}")
