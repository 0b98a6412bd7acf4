"""Remove the stack and everything of it, data and secrets included."""

from __future__ import annotations

import argparse
import shutil
import sys
from typing import TYPE_CHECKING

from infra.cli import common
from infra.errors import MaiaError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from infra.progress import Progress
    from infra.stack import Stack


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--yes", metavar="NAME", help="the stack's name, instead of typing it")


def run(args: argparse.Namespace) -> int:
    from infra import timer
    from infra.cli import drill
    from infra.progress import Progress

    stack = common.started(args)
    _confirm(stack.name, args.yes)
    with common.locked(stack, "destroy"), Progress() as progress:
        timer.remove(stack.name, stack.site)
        drill.end(stack, progress)
        kept = remove(stack, progress)
        stack.site.lock(stack.name).unlink(missing_ok=True)
    print(f"nothing of {stack.name} is left" + (f" but its recovery points in {kept}" if kept else ""))
    return 0


def remove(stack: Stack, progress: Progress, *, ours: bool = False) -> Path | None:
    """Remove the stack, however much of it there is.

    Args:
        ours: known to be this site's, even where the engine knows nothing of it.

    Returns:
        A folder of points that the owner named elsewhere, which stays.
    """
    from infra import leftovers

    with progress.step("engine") as say:
        engine = common.engine(stack, say)
    with progress.step("pulumi destroy") as say:
        if engine.exists():
            engine.recover(say)
            leftovers.remove_unknown(stack, engine.known(), say)
            engine.destroy(say)
        elif not ours:
            leftovers.refuse_foreign(stack)
    with progress.step("leftovers") as say:
        leftovers.remove_all(stack, say)
        kept = _remove_files(stack, say)
        engine.remove_stack()
        stack.file.unlink(missing_ok=True)
    return kept


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


def _remove_files(stack: Stack, say: Callable[[str], None]) -> Path | None:
    """Remove what is in the site folder, recovery points among it.

    Returns:
        A folder of points that the owner named elsewhere, which stays.
    """
    from infra import atomic
    from infra.releases import home

    say("removing its files")
    site, name = stack.site, stack.name
    folders = (site.files(name), site.sockets(name), site.evidence(name), site.archive(name), site.restoring(name))
    for folder in (*folders, site.fetched(name), home(site, name)):
        shutil.rmtree(folder, ignore_errors=True)
    if stack.exists() and stack.place.name:
        stack.place.call(atomic.clear, str(stack.home.root))
    for file in (site.unfinished(name), site.ages(name)):
        file.unlink(missing_ok=True)
    elsewhere = stack.config.backup.folder if stack.exists() else None
    return site.archive(name, elsewhere) if elsewhere else None
