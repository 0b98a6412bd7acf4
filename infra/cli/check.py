"""Verify the running stack against its plan; evidence goes to the site folder."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from infra.cli import common

if TYPE_CHECKING:
    from checks import Result
    from infra.engine import Engine
    from infra.progress import Progress
    from infra.stack import Stack


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-k", metavar="EXPRESSION", dest="keyword", help="only checks that match, as pytest's -k")
    parser.add_argument("--control", metavar="ID", help="only checks whose control ids begin with this")
    parser.add_argument("--host", metavar="NAME", help="only this server of the stack, or local: this machine")
    parser.add_argument("--level", type=int, choices=(1, 2), help="only checks of controls up to this level")
    parser.add_argument("--all", action="store_true", help="a line for every check")


def run(args: argparse.Namespace) -> int:
    from infra.progress import Progress

    stack = common.started(args)
    chosen = {name: getattr(args, name) for name in ("keyword", "control", "host", "level")}
    with Progress() as progress:
        if args.host:  # needs none of the stack's secrets
            return report(_checked(stack, {}, progress, **chosen), everything=args.all)
        with progress.step("engine") as say:
            secrets = common.engine(stack, say).secrets()
        result = _checked(stack, secrets, progress, **chosen)
    return report(result, everything=args.all)


def verify(
    stack: Stack, engine: Engine, progress: Progress, *, keyword: str | None = None, control: str | None = None
) -> Result:
    """Run the checks as a step of its own."""
    return _checked(stack, engine.secrets(), progress, keyword=keyword, control=control)


def _checked(stack: Stack, secrets: Mapping[str, str], progress: Progress, **chosen: Any) -> Result:
    import checks

    with progress.step("checks") as say:
        return checks.run(stack, say=say, secrets=secrets, **chosen)


def report(result: Result, *, everything: bool = False) -> int:
    """Print the table; 1 where a check failed."""
    import checks

    if everything or not result.ok:
        common.show(checks.table(result, everything=everything))
    print(f"checks:  {result.summary}; evidence in {result.evidence}")
    return 0 if result.ok else 1
