"""List the container images, build them, or vendor their packages for an installation offline."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from infra.cli import common


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    actions.add_parser("list", help="with size, age and packages (this is the default)")
    build = actions.add_parser("build", help="build what is missing")
    build.add_argument("names", nargs="*", metavar="NAME", help="only these")
    build.add_argument("--vendor", type=Path, metavar="DIR", help="take packages from this folder only")
    build.add_argument("--fresh", action="store_true", help="build anew, from today's packages")
    vendor = actions.add_parser("vendor", help="gather every package the images need in a folder")
    vendor.add_argument("folder", type=Path, metavar="DIR", help="an empty one, or one made by this command")


def run(args: argparse.Namespace) -> int:
    return {"build": _build, "vendor": _vendor}.get(args.action, _list)(args)


def _list(args: argparse.Namespace) -> int:
    from rich.table import Table

    from infra.images import store

    table = Table("image", "size", "built", "packages", "id", "what it is", box=None, pad_edge=False)
    for line in store.inventory(store.vendored(), _packages(args)):
        image = line.image
        cells = (
            (f"{image.size / 1e6:.0f} MB", _age(time.time() - image.built), str(image.packages), image.id[7:19])
            if image
            else ("-", "not yet", "-", "-")
        )
        table.add_row(line.name, *cells, line.description)
    common.show(table)
    return 0


def _build(args: argparse.Namespace) -> int:
    from infra.images import build, store
    from infra.progress import Progress

    names = args.names or [line.name for line in store.inventory()]
    with Progress() as progress, progress.step("images") as say:
        vendor, packages = args.vendor or store.vendored(), _packages(args)
        built = build.build(names, say, vendor=vendor, packages=packages, fresh=args.fresh)
    for image in built.values():
        print(f"{image.tag} {image.id}")
    return 0


def _packages(args: argparse.Namespace) -> str:
    """Since when the stack's packages are, where there is one."""
    stack = common.selected(args)
    return stack.config.packages if stack.exists() else ""


def _vendor(args: argparse.Namespace) -> int:
    from infra.images import vendor
    from infra.progress import Progress

    with Progress() as progress, progress.step("vendor") as say:
        vendor.vendor(args.folder, say)
    print(f"{args.folder}: use it with maia images build --vendor {args.folder}")
    return 0


def _age(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit} ago"
    return "just now"
