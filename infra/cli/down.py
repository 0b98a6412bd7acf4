"""Stop the stack and keep its data; `up` brings it back."""

from __future__ import annotations

import argparse

from infra.cli import common


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None of its own."""


def run(args: argparse.Namespace) -> int:
    from infra.cli.up import apply
    from infra.progress import Progress

    stack = common.started(args)
    with common.locked(stack, "down"), Progress() as progress:
        with progress.step("engine") as say:
            engine = common.engine(stack, say)
            engine.configure("maia:running", "false")
        apply(common.selected(args), engine, progress)
    print(f"{stack.name} is down; its volumes, secrets and state are kept")
    return 0
