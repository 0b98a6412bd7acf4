"""Make a recovery point now: Postgres, objects, Redis, settings and secrets."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from infra.cli import common
from infra.errors import MaiaError

if TYPE_CHECKING:
    from infra.stack import Stack


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kind", choices=("full", "diff", "incr"), help="of Postgres's part (what is due)")


def run(args: argparse.Namespace) -> int:
    from infra import recovery
    from infra.progress import Progress

    stack = common.started(args)
    with Progress() as progress, progress.step("backup") as say:
        made = recovery.ask(stack, "make", *(["--kind", args.kind] if args.kind else []), say=say)
    size, added = common.size(made["size"]), common.size(made["added"])
    print(f"point:   {made['id']} ({made['kind']}), {size}, of which {added} are new, in {made['seconds']} s")
    if made["wrong"]:
        print(f"objects: {made['wrong']}")
    brought = [_bring(stack, copy.name) for copy in stack.plan.backup.copies]
    return int(not all(brought))


def _bring(stack: Stack, name: str) -> bool:
    """Bring it over now, and say what became of it."""
    from infra import recovery
    from infra.progress import Progress

    try:
        with Progress() as progress, progress.step(f"copy {name}") as say:
            found = recovery.ask(stack, "copy", name, say=say)
    except MaiaError as error:
        print(f"copy:    {error}")
        return False
    print(f"copy:    {name} has it, {common.size(found['added'])} sent in {found['seconds']} s")
    return True
