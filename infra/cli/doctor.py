"""Say what is wrong and, for each finding, the command that mends it; changes nothing."""

from __future__ import annotations

import argparse

from infra.cli import common


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None of its own."""


def run(args: argparse.Namespace) -> int:
    from infra import doctor, forecast

    stack = common.selected(args)
    findings = list(doctor.examine(stack))
    lasting = forecast.of(stack)
    if lasting and lasting.soon:
        findings.append((str(lasting), f"./maia maintain --stack {stack.name}, then a larger disk"))
    for what, mend in findings:
        print(f"{what}\n    → {mend}")
    if not findings:
        print("nothing is wrong")
    if lasting and not lasting.soon:
        print(f"the disk: {lasting}")
    if left := doctor.room(stack):
        print(f"{left}\n    → ./maia prune")
    return 1 if findings else 0
