"""Print what plain `pulumi` needs to work on the stack: eval "$(maia env)"."""

from __future__ import annotations

import argparse
import shlex
import sys

from infra.cli import common


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None of its own."""


def run(args: argparse.Namespace) -> int:
    from infra.toolchain import pulumi

    stack = common.selected(args)
    toolchain = pulumi.prepare(lambda text: print(f"maia: {text}", file=sys.stderr))
    variables = toolchain.environment(stack.site, stack.name)
    for name, value in sorted(variables.items()):
        print(f"export {name}={shlex.quote(value)}")
    return 0
