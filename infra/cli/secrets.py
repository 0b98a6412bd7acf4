"""List, show, rotate or set the stack's secrets."""

from __future__ import annotations

import argparse
import getpass
import re
import sys

from infra.cli import common
from infra.errors import MaiaError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", help="names and who uses them")
    for action, about in (
        ("show", "print one value"),
        ("rotate", "make a new value and bring it into use"),
        ("set", "take the value that somebody else made from standard input"),
    ):
        actions.add_parser(action, help=about).add_argument("name", help="as `maia secrets list` names it")


def run(args: argparse.Namespace) -> int:
    return {"list": _list, "show": _show, "rotate": _rotate, "set": _set}[args.action](args)


def _list(args: argparse.Namespace) -> int:
    from rich.table import Table

    from infra import initialise

    stack = common.started(args)
    table = Table("secret", "used by", box=None, pad_edge=False)
    for name in sorted(stack.secret_names | set(stack.plan.secrets)):
        users = [container.part for container in stack.plan.containers if name in container.secrets]
        how = f"maia secrets set {name} takes it" if name in initialise.GIVEN else "maia init makes it"
        missing = "" if name in stack.secret_names else f" (missing: {how})"
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
    if args.name in initialise.GIVEN:
        raise MaiaError("not made here", where=f"secrets:{args.name}", mend=f"maia secrets set {args.name}")
    _check(args.name, stack.secret_names - set(initialise.CA))
    with common.locked(stack, "secrets rotate"), Progress() as progress:
        with progress.step("engine") as say:
            engine = common.engine(stack, say)
            engine.set_secret(args.name, credentials.generate())
        apply(common.selected(args), engine, progress)
    print(f"{args.name} is new and in use")
    return 0


def _set(args: argparse.Namespace) -> int:
    from infra import initialise
    from infra.progress import Progress

    stack = common.selected(args)
    _check(args.name, set(stack.plan.secrets) & initialise.GIVEN)
    value = (getpass.getpass(f"{args.name}: ") if sys.stdin.isatty() else sys.stdin.readline()).strip()
    if not re.fullmatch(r"[A-Za-z0-9_-]{20,}=*", value):
        raise MaiaError("no key in base64url", where=f"secrets:{args.name}", mend="copy it as the directory shows it")
    with common.locked(stack, "secrets set"), Progress() as progress, progress.step("engine") as say:
        engine = common.engine(stack, say)
        initialise.begin(stack, engine, say)
        engine.set_secret(args.name, value)
    print(f"{args.name} is set; the next `maia up --stack {stack.name}` brings it into use")
    return 0


def _check(name: str, known: set[str]) -> None:
    from infra.config import nearest

    if name not in known:
        raise MaiaError(f"no secret {name!r}", where="secrets", mend=nearest(name, known))
