"""Verify the running stack against its plan; evidence goes to the site folder."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from infra.cli import common

if TYPE_CHECKING:
    from checks import Result
    from infra.engine import Engine
    from infra.progress import Progress
    from infra.stack import Stack


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-k", metavar="EXPRESSION", dest="keyword", help="only checks that match, as pytest's -k")
    parser.add_argument("--control", metavar="ID", help="only checks whose control ids begin with this")
    parser.add_argument("--all", action="store_true", help="a line for every check")


def run(args: argparse.Namespace) -> int:
    from infra.progress import Progress

    stack = common.started(args)
    with Progress() as progress:
        with progress.step("engine") as say:
            engine = common.engine(stack, say)
        result = verify(stack, engine, progress, keyword=args.keyword, control=args.control)
    return report(result, everything=args.all)


def verify(
    stack: Stack, engine: Engine, progress: Progress, *, keyword: str | None = None, control: str | None = None
) -> Result:
    """Run the checks as a step of its own."""
    import checks

    with progress.step("checks") as say:
        return checks.run(stack, say=say, secrets=engine.secrets(), keyword=keyword, control=control)


def report(result: Result, *, everything: bool = False) -> int:
    """Print the table; 1 where a check failed."""
    import checks

    if everything or not result.ok:
        common.show(checks.table(result, everything=everything))
    print(f"checks:  {result.summary}; evidence in {result.evidence}")
    return 0 if result.ok else 1
