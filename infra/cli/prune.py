"""Remove what earlier versions left: images, tools, packages and Python environments that nothing uses."""

from __future__ import annotations

import argparse
from contextlib import ExitStack

from infra.cli import common
from infra.errors import MaiaError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="show what would go, and remove nothing")
    parser.add_argument(
        "--keep", type=int, default=1, metavar="N", help="unused generations of each thing that stay (%(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    from rich.table import Table

    from infra import prune
    from infra.progress import Progress
    from infra.site import Site
    from infra.stack import Stack

    if args.keep < 0:
        raise MaiaError(f"{args.keep} is less than none", where="--keep", mend="0 keeps no former generation")
    site = Site.current()
    with ExitStack() as held, Progress() as progress:
        with progress.step("prune") as say:
            if not args.dry_run:
                for name in prune.stacks(site):
                    held.enter_context(common.locked(Stack(name, site), "prune"))
                held.enter_context(prune.alone(say))
            say("looking for what nothing uses")
            items = prune.find(site, prune.docker_client(), args.keep)
            kept = []
            for count, item in enumerate([] if args.dry_run else items, 1):
                say(f"removing {count} of {len(items)}")
                if not item.remove():
                    kept.append(item)
    gone = [item for item in items if item not in kept]
    table = Table("size", "what", box=None, pad_edge=False)
    table.columns[0].justify = "right"
    for item in gone:
        table.add_row(common.size(item.size), item.what)
    if gone:
        common.show(table)
    print(f"{common.size(sum(item.size for item in gone))} {'would go' if args.dry_run else 'removed'}")
    return 0
