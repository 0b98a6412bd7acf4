"""Make a recovery point now: Postgres, objects, Redis, settings and secrets."""

from __future__ import annotations

import argparse

from infra.cli import common


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
    return 0
