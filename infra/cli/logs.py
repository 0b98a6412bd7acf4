"""Print the log of one part."""

from __future__ import annotations

import argparse
import sys

from infra.cli import common


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("part", help="as `maia status` names it")
    parser.add_argument("-f", "--follow", action="store_true", help="go on as it grows, until Ctrl-C")
    parser.add_argument("--tail", type=int, default=100, metavar="LINES", help="how many of the last lines (100)")
    parser.add_argument("--timestamps", action="store_true", help="when each line was written, in front of it")
    parser.add_argument("--migration", action="store_true", help="of the migration of an app, instead of the app")


def run(args: argparse.Namespace) -> int:
    container = common.running(common.started(args), args.part, migration=args.migration)
    options = {"tail": args.tail, "timestamps": args.timestamps}
    if not args.follow:
        sys.stdout.buffer.write(container.logs(**options))
        return 0
    for chunk in container.logs(stream=True, follow=True, **options):
        sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
    return 0
