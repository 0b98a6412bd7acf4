"""Show what `up` would change, drift of what runs included; changes nothing."""

from __future__ import annotations

import argparse

from infra.cli import common

STEPS = frozenset({"create-replacement", "delete-replaced"})
"""What a ``replace`` consists of."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None of its own."""


def run(args: argparse.Namespace) -> int:
    from rich.table import Table

    from infra.progress import Progress

    stack = common.started(args)
    assert stack.plan  # a wrong stack file is told by key
    with Progress() as progress, progress.step("preview") as say:
        outcome = common.engine(stack, say).preview(say)
    if not outcome.changes:
        print("nothing to change: what runs is what the plan says")
        return 0
    table = Table("change", "kind", "name", "because of", box=None, pad_edge=False)
    for change in (change for change in outcome.changes if change.operation not in STEPS):
        table.add_row(change.operation, change.kind, change.name, " ".join(change.keys))
    common.show(table)
    return 0
