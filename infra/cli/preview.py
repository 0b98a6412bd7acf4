"""Show what `up` would change, drift of what runs included; changes nothing."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from infra.cli import common

if TYPE_CHECKING:
    from infra.engine import Engine
    from infra.events import Outcome
    from infra.progress import Progress
    from infra.stack import Stack

STEPS = frozenset({"create-replacement", "delete-replaced"})
"""What a ``replace`` consists of."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None of its own."""


def run(args: argparse.Namespace) -> int:
    from infra.progress import Progress

    stack = common.started(args)
    assert stack.plan  # a wrong stack file is told by key
    with Progress() as progress:
        with progress.step("preview") as say:
            engine = common.engine(stack, say)
            outcome = engine.preview(say)
        lines = [*_schema(stack), *_tasks(stack, engine, outcome, progress)]
    if not outcome.changes:
        print("nothing to change: what runs is what the plan says")
        return 0
    show(outcome)
    for line in lines:
        print(line)
    return 0


def show(outcome: Outcome) -> None:
    """Print what would change, and what was found of the servers."""
    from rich.table import Table

    table = Table("change", "kind", "name", "because of", box=None, pad_edge=False)
    for change in (change for change in outcome.changes if change.operation not in STEPS):
        table.add_row(change.operation, change.kind, change.name, " ".join(change.keys))
    common.show(table)
    for note in outcome.notes:
        print(f"host: {note}")


def _schema(stack: Stack) -> list[str]:
    """What the database of MAIA's data would go through."""
    from infra import schema

    if not stack.met:
        return []
    return [f"schema: {step}" for step in schema.steps(stack.plan, stack.place, stack.home)]


def _tasks(stack: Stack, engine: Engine, outcome: Outcome, progress: Progress) -> list[str]:
    """What the roles of the servers that would change would do there."""
    named = {change.name for change in outcome.changes if change.kind == "Host" and change.operation != "delete"}
    concerned = [host for host in stack.plan.hosts if host.name in named]
    if not concerned:
        return []
    from infra.hosts import ahead

    secrets, lines = engine.secrets(), []
    for host in concerned:
        with progress.step(f"host {host.name}") as say:
            lines += ahead.told(stack, host, secrets, say)
    return lines
