"""What ``restore --database`` and ``restore --bucket`` do."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from infra.cli import common
from infra.errors import MaiaError

if TYPE_CHECKING:
    from infra.recovery import Contents

ROOM = 2.0
"""What a database takes while it is brought back, times all of the point: its files, a dump, and itself."""


def refuse(args: argparse.Namespace) -> None:
    """Refuse options that do not go together.

    Raises:
        MaiaError: naming them.
    """
    partial = bool(args.database or args.bucket)
    wrong = {
        "--table goes with --database": args.table and not args.database,
        "--as goes with --database or --bucket": args.side and not partial,
        "--database and --bucket are restored one by one": args.database and args.bucket,
        "--into is for a whole point": args.into and partial,
    }
    for what, holds in wrong.items():
        if holds:
            raise MaiaError(what, where="restore", mend="maia restore --help")


def _refuse_unknown(contents: Contents, args: argparse.Namespace) -> None:
    """Refuse what the point does not have; what a moment has is only known once its WAL is played.

    Raises:
        MaiaError: naming the nearest.
    """
    from infra.config import nearest

    if args.time:
        return
    databases = contents.manifest["postgres"]["databases"]
    for name, what, known in (
        (args.database, "database", databases),
        (args.table, "table", databases.get(args.database, {}).get("tables", {})),
    ):
        if name and name not in known:
            point = str(contents.manifest["id"])
            raise MaiaError(f"no {what} {name!r} in the point", where=point, mend=nearest(name, known))


def run(args: argparse.Namespace) -> int:
    from infra import aside, recovery
    from infra.cli import restore
    from infra.progress import Progress

    stack = common.started(args)
    with common.locked(stack, "restore"), Progress() as progress:
        recovery.refuse_unfinished(stack)
        recovery.running(stack)
        restore.ready(progress, stack.place)
        archive = restore.archive(args, stack.site, progress)
        contents = restore.look(stack, archive, args.point or "latest", progress, room=ROOM)
        point = str(contents.manifest["id"])
        side = args.side or aside.default(args.database or args.bucket, point, "_" if args.database else "-")
        aside.refuse_name(side, bucket=bool(args.bucket))
        if args.bucket:
            with progress.step("bucket") as say:
                found = aside.bucket(stack, archive, point, args.time, args.bucket, side, say)
        else:
            _refuse_unknown(contents, args)
            aside.refuse_taken(stack, side)
            with progress.step("database") as say:
                found = aside.database(stack, archive, point, args.time, args.database, args.table, side, say)
    when = args.time or found["point"]
    if args.bucket:
        print(f"restored: {args.bucket} of {when} as the bucket {side}")
        print(f"compared: {found['files']} files with the archive's hashes")
        print(f"shows:    {found['objects']} objects, {found['versions']} versions of them")
        return 0
    what = f"the table {args.table} of {args.database}" if args.table else args.database
    print(f"restored: {what} of {when} as the database {side}")
    for line in found["refused"]:
        print(f"left out: {line}")
    if found["differs"]:
        print(f"differs:  {', '.join(found['differs'])}")
        return 1
    print(f"compared: {found['rows']} rows in {found['tables']} tables are what was in the point")
    return 0
