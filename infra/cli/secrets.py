"""List, show or rotate the stack's secrets."""

from __future__ import annotations

import argparse

from infra.cli import common
from infra.errors import MaiaError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", help="names and who uses them")
    for action, about in (("show", "print one value"), ("rotate", "make a new value and bring it into use")):
        actions.add_parser(action, help=about).add_argument("name", help="as `maia secrets list` names it")


def run(args: argparse.Namespace) -> int:
    return {"list": _list, "show": _show, "rotate": _rotate}[args.action](args)


def _list(args: argparse.Namespace) -> int:
    from rich.table import Table

    stack = common.started(args)
    table = Table("secret", "used by", box=None, pad_edge=False)
    for name in sorted(stack.secret_names | set(stack.plan.secrets)):
        users = [container.part for container in stack.plan.containers if name in container.secrets]
        missing = "" if name in stack.secret_names else " (missing: maia init makes it)"
        table.add_row(name, " ".join(users) + missing)
    common.show(table)
    return 0


def _show(args: argparse.Namespace) -> int:
    stack = common.started(args)
    _check(args.name, stack.secret_names)
    print(common.engine(stack, lambda text: None).secrets()[args.name])
    return 0


def _rotate(args: argparse.Namespace) -> int:
    from infra import credentials, initialise
    from infra.cli.up import apply
    from infra.progress import Progress

    stack = common.started(args)
    _check(args.name, stack.secret_names - set(initialise.CA))
    with common.locked(stack, "secrets rotate"), Progress() as progress:
        with progress.step("engine") as say:
            engine = common.engine(stack, say)
            engine.set_secret(args.name, credentials.generate())
        apply(common.selected(args), engine, progress)
    print(f"{args.name} is new and in use")
    return 0


def _check(name: str, known: set[str]) -> None:
    from infra.config import nearest

    if name not in known:
        raise MaiaError(f"no secret {name!r}", where="secrets", mend=nearest(name, known))
