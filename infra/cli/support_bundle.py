"""Gather what somebody who helps needs to see, without any secret, in one archive."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from infra.cli import common


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", type=Path, metavar="FILE", help="where to (maia-STACK-TIME.tar.gz here)")


def run(args: argparse.Namespace) -> int:
    from infra import bundle
    from infra.progress import Progress

    stack = common.started(args)
    stamp = time.strftime("%Y%m%d-%H%M%S")
    target: Path = args.output or Path.cwd() / f"maia-{stack.name}-{stamp}.tar.gz"
    with Progress() as progress, progress.step("support bundle") as say:
        secrets = common.engine(stack, say).secrets()
        secrets["passphrase"] = stack.site.passphrase.read_text().strip()
        say("gathering")
        bundle.write(target, f"maia-{stack.name}-{stamp}", bundle.gather(stack), secrets.values())
    print(f"{target}: look into it before you send it")
    return 0
