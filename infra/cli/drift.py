"""Show what is not as `up` left it, on the hosts and of the containers; changes nothing."""

from __future__ import annotations

import argparse

from infra.cli import common, preview


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None of its own."""


def run(args: argparse.Namespace) -> int:
    from infra.progress import Progress

    stack = common.started(args)
    assert stack.plan  # a wrong stack file is told by key
    with Progress() as progress, progress.step("drift") as say:
        outcome = common.engine(stack, say).preview(say, thorough=True)
    if not outcome.changes:
        print("no drift: everything is as it was left")
        return 0
    preview.show(outcome)
    print(f"mend: maia up --refresh --stack {stack.name}")
    return 1
