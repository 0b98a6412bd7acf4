"""Show how each part is doing."""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from typing import TYPE_CHECKING

from infra.cli import common

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.table import Table

    from infra.health import PartState
    from infra.plan import Plan

INTERVAL = 2.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="as data")
    parser.add_argument("--watch", action="store_true", help="again and again, until Ctrl-C")


def run(args: argparse.Namespace) -> int:
    from infra import away, health, recovery, served

    stack = common.started(args)
    plan, client = stack.plan, health.client(stack.place)
    states = health.states(plan, client)
    if args.json:
        print(json.dumps(_data(plan, states, served.told(plan, client)), indent=2))
    elif args.watch:
        _watch(plan, lambda: health.states(plan, client))
    else:
        common.show(_table(plan, states))
        if plan.has(recovery.PART):
            print(f"backups: {recovery.where(stack)}")
            for line in away.told(stack):
                print(f"copy: {line}")
        if told := served.told(plan, client):
            print(f"certificate: {told}")
        if plan.hosts:
            from infra.hosts import outlook

            for host, state in outlook.of(stack):
                print(f"host: {host.name} at {host.address}: {state.told}")
        for part, reason in plan.absences():
            print(f"absent: {part}: {reason}")
    return 0 if not plan.running or all(state.well for state in states) else 1


def _data(plan: Plan, states: list[PartState], certificate: str) -> dict[str, object]:
    return {
        "stack": plan.stack,
        "origin": plan.origin,
        "running": plan.running,
        "well": all(state.well for state in states),
        "parts": [dataclasses.asdict(state) | {"well": state.well} for state in states],
        **({"certificate": certificate} if certificate else {}),
        "absent": [dataclasses.asdict(absent) for absent in plan.absent],
    }


def _table(plan: Plan, states: list[PartState]) -> Table:
    from rich.table import Table

    well = sum(state.well for state in states)
    summary = f"{well} of {len(states)} parts are well" if plan.running else "down; its data is kept"
    table = Table(box=None, pad_edge=False, title=f"stack {plan.stack}: {summary}", title_justify="left")
    for name in ("part", "state", "health", "memory", "restarts", "version", "image"):
        table.add_column(name, justify="right" if name in ("memory", "restarts") else "left", no_wrap=True)
    for state in states:
        colour = "green" if state.well else "red" if plan.running else "dim"
        table.add_row(
            state.part,
            state.state,
            f"[{colour}]{state.health or '-'}[/]",
            f"{state.memory} / {state.limit} MiB",
            str(state.restarts),
            state.version,
            state.image.removeprefix("sha256:")[:12],
        )
    return table


def _watch(plan: Plan, look: Callable[[], list[PartState]]) -> None:
    from rich.console import Console
    from rich.live import Live

    with Live(_table(plan, look()), console=Console(highlight=False), auto_refresh=False) as live:
        while True:
            time.sleep(INTERVAL)
            live.update(_table(plan, look()), refresh=True)
