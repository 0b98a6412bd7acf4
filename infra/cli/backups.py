"""List, show, verify or expire the recovery points."""

from __future__ import annotations

import argparse
import json

from infra.cli import common
from infra.errors import MaiaError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listed = actions.add_parser("list", help="every point, the oldest first")
    listed.add_argument("--json", action="store_true")
    shown = actions.add_parser("show", help="the manifest of one point, as JSON")
    shown.add_argument("point", help="its id, or latest")
    verified = actions.add_parser(
        "verify", help="read the whole archive again and compare every byte with its checksum"
    )
    verified.add_argument("--copy", metavar="NAME", help="the copy of that name instead")
    actions.add_parser("expire", help="drop points that are older than maia:backup.days")


def run(args: argparse.Namespace) -> int:
    from infra import recovery
    from infra.config import nearest
    from infra.progress import Progress

    stack = common.started(args)
    words = ["show", args.point] if args.action == "show" else [args.action]
    if args.action == "verify" and args.copy:
        known = [copy.name for copy in stack.plan.backup.copies]
        if args.copy not in known:
            raise MaiaError(f"no copy {args.copy!r}", where="maia:backup.copies", mend=nearest(args.copy, known))
        words += ["--copy", args.copy]
    with Progress() as progress, progress.step(args.action) as say:
        found = recovery.ask(stack, *words, say=say)
    if args.action == "list" and not args.json:
        _table(found)
    elif args.action == "verify":
        what = f"the copy {args.copy}" if args.copy else "the archive"
        print(f"every byte of {what} is what was written ({found} s)")
    elif args.action == "expire":
        print(f"gone:    {' '.join(found) or 'none'}")
    else:
        print(json.dumps(found, indent=2))
    return 0


def _table(points: list[dict[str, object]]) -> None:
    from rich.table import Table

    table = Table("point", "cut", "kind", "size", "new", "took", "release", box=None, pad_edge=False)
    for point in points:
        sizes = (common.size(int(str(point[key]))) for key in ("size", "added"))
        moment = str(point["moment"])[:19].replace("T", " ")
        table.add_row(
            str(point["id"]), moment, str(point["kind"]), *sizes, f"{point['seconds']} s", str(point["release"])
        )
    common.show(table)
