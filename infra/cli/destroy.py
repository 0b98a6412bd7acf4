"""Remove the stack and everything of it, data and secrets included."""

from __future__ import annotations

import argparse
import shutil
import sys
from typing import TYPE_CHECKING

from infra.cli import common
from infra.errors import MaiaError

if TYPE_CHECKING:
    from pathlib import Path

    from infra.events import Outcome
    from infra.progress import Progress
    from infra.stack import Stack


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--yes", metavar="NAME", help="the stack's name, instead of typing it")
    parser.add_argument("--gone", action="store_true", help="its server is no more: forget it without asking it")


def run(args: argparse.Namespace) -> int:
    from infra import timer
    from infra.cli import drill
    from infra.progress import Progress

    stack = common.started(args)
    if args.gone and not stack.place.name:
        raise MaiaError("its parts run on this machine", where="--gone", mend="leave it out")
    _confirm(stack.name, args.yes)
    with common.locked(stack, "destroy"), Progress() as progress:
        timer.remove(stack.name, stack.site)
        drill.end(stack, progress)
        kept = None
        if args.gone:
            forget(stack, progress)
        else:
            kept = remove(stack, progress)
        stack.site.lock(stack.name).unlink(missing_ok=True)
    where = " here; what is on its servers stays there" if args.gone else ""
    print(f"nothing of {stack.name} is left{where}" + (f" but its recovery points in {kept}" if kept else ""))
    return 0


def remove(stack: Stack, progress: Progress, *, ours: bool = False) -> Path | None:
    """Remove the stack, however much of it there is.

    Args:
        ours: known to be this site's, even where the engine knows nothing of it.

    Returns:
        A folder of points that the owner named elsewhere, which stays.
    """
    from infra import atomic, leftovers

    with progress.step("engine") as say:
        engine = common.engine(stack, say)
    server, there = stack.place.name, _docker_answers(stack)
    with progress.step("pulumi destroy") as say:
        if engine.exists():
            engine.recover(say)
            if there:
                leftovers.remove_unknown(stack, engine.known(), say)
            _tell(engine.destroy(say, but=server), progress)
        elif there and not ours:
            leftovers.refuse_foreign(stack)
    with progress.step("leftovers") as say:
        if there:
            leftovers.remove_all(stack, say)
        if there and server:
            stack.place.call(atomic.clear, str(stack.home.root))
    if server and engine.exists():
        with progress.step(f"host {server}") as say:
            _tell(engine.destroy(say), progress)
    kept = _remove_files(stack)
    engine.remove_stack()
    stack.file.unlink(missing_ok=True)
    return kept


def forget(stack: Stack, progress: Progress) -> None:
    """Remove what is here of a stack whose server is no more."""
    with progress.step("engine") as say:
        engine = common.engine(stack, say)
    for host in stack.config.hosts:
        stack.site.known(stack.name, host).unlink(missing_ok=True)
    _remove_files(stack)
    engine.remove_stack(force=True)
    stack.file.unlink(missing_ok=True)


def _tell(outcome: Outcome, progress: Progress) -> None:
    for note in outcome.notes:
        progress.line(f"host {note}")


def _docker_answers(stack: Stack) -> bool:
    """Whether anything can be where the parts run; a server may not have been prepared to its end."""
    from infra import machine, preflight

    if not stack.place.name:
        return True
    return stack.met and stack.place.call(machine.docker_state, str(preflight.SOCKET)) == "answers"


def _confirm(name: str, typed: str | None) -> None:
    if typed is None:
        if not sys.stdin.isatty():
            raise MaiaError(
                "asks for the stack's name, and there is no terminal",
                where="destroy",
                mend=f"maia destroy --stack {name} --yes {name}",
            )
        print(f"This removes the stack {name} with all of its data, its secrets and the key of its points, for good.")
        typed = input("Type the stack's name to go on: ").strip()
    if typed != name:
        raise MaiaError(f"{typed!r} is not the stack's name, nothing was removed", where="destroy", mend=f"type {name}")


def _remove_files(stack: Stack) -> Path | None:
    """Remove what is in the site folder, recovery points among it.

    Returns:
        A folder of points that the owner named elsewhere, which stays.
    """
    from infra.releases import home

    site, name = stack.site, stack.name
    folders = (site.files(name), site.sockets(name), site.evidence(name), site.archive(name), site.restoring(name))
    for folder in (*folders, site.fetched(name), home(site, name)):
        shutil.rmtree(folder, ignore_errors=True)
    for file in (site.unfinished(name), site.ages(name)):
        file.unlink(missing_ok=True)
    elsewhere = stack.config.backup.folder if stack.exists() else None
    return site.archive(name, elsewhere) if elsewhere else None
