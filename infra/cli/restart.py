"""Restart one part and wait until it is healthy again."""

from __future__ import annotations

import argparse

from infra.cli import common


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("part", help="as `maia status` names it")


def run(args: argparse.Namespace) -> int:
    from infra import health
    from infra.progress import Progress

    stack = common.started(args)
    container = common.running(stack, args.part)
    with common.locked(stack, "restart"), Progress() as progress, progress.step(f"restart {args.part}") as say:
        container.restart(timeout=stack.plan.container(args.part).stop_seconds)
        health.wait(stack.plan, health.client(stack.place), say, only=[args.part])
    return 0
