"""List, show, rotate or set the stack's secrets."""

from __future__ import annotations

import argparse
import dataclasses
import getpass
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from infra.cli import common
from infra.errors import MaiaError

if TYPE_CHECKING:
    from infra.engine import Engine
    from infra.progress import Progress
    from infra.stack import Stack

CA = "ca"
CERTIFICATES = "certificates"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", help="names, since when, and who uses them")
    actions.add_parser("show", help="print one value").add_argument("name", help="as `maia secrets list` names it")
    rotate = actions.add_parser("rotate", help="make a new value and bring it into use")
    rotate.add_argument(
        "name", help=f"as `maia secrets list` names it; {CERTIFICATES}: of the servers; {CA}: who signs them"
    )
    rotate.add_argument(
        "--finish", action="store_true", help=f"of {CA}: let the new one sign, and trust the old one no more"
    )
    given = actions.add_parser("set", help="take the value that somebody else made from standard input")
    given.add_argument("name", help="as `maia secrets list` names it")


def run(args: argparse.Namespace) -> int:
    return {"list": _list, "show": _show, "rotate": _rotate, "set": _set}[args.action](args)


def _list(args: argparse.Namespace) -> int:
    from rich.table import Table

    from infra import ages, initialise

    stack = common.started(args)
    since = ages.read(stack.site, stack.name)
    table = Table("secret", "set", "used by", box=None, pad_edge=False)
    for name in sorted(stack.secret_names | set(stack.plan.secrets)):
        users = [container.part for container in stack.plan.containers if name in container.secrets]
        how = f"maia secrets set {name} takes it" if initialise.given(name) else "maia init makes it"
        missing = "" if name in stack.secret_names else f" (missing: {how})"
        table.add_row(name, f"{since[name]}" if name in since else "", " ".join(users) + missing)
    common.show(table)
    return 0


def _show(args: argparse.Namespace) -> int:
    stack = common.started(args)
    _check(args.name, stack.secret_names)
    print(common.engine(stack, lambda text: None).secrets()[args.name])
    return 0


def _rotate(args: argparse.Namespace) -> int:
    from infra import authority, credentials, initialise, recovery
    from infra.catalog import auth
    from infra.plan import ENVELOPE
    from infra.progress import Progress

    stack = common.started(args)
    if initialise.given(args.name):
        raise MaiaError("not made here", where=f"secrets:{args.name}", mend=f"maia secrets set {args.name}")
    if args.name == auth.SIGNING:
        raise MaiaError("is a list of keys", where=f"secrets:{args.name}", mend="maia auth keys rotate")
    fixed = {
        recovery.KEY: "opens every point there is",
        ENVELOPE: "opens what services encrypted in the database",
        auth.SEALING: "opens the second factors of everybody",
    }
    if args.name in fixed:
        raise MaiaError(
            f"{fixed[args.name]} and cannot be rotated",
            where=f"secrets:{args.name}",
            mend="keep it where only you can read it",
        )
    hidden = {*authority.NAMES, *authority.OPTIONAL}
    _check(args.name, (stack.secret_names - hidden) | {CA, CERTIFICATES})
    if args.finish and args.name != CA:
        raise MaiaError("is rotated in one step", where=args.name, mend=f"maia secrets rotate {args.name}")
    with common.locked(stack, "secrets rotate"), Progress() as progress:
        with progress.step("engine") as say:
            engine = common.engine(stack, say)
        if args.name == CA:
            return (_retire if args.finish else _announce)(stack, engine, progress)
        name = authority.STAMP if args.name == CERTIFICATES else args.name
        engine.set_secret(name, credentials.generate())
        _apply(stack, engine, progress)
    print(f"{args.name} {'are' if args.name == CERTIFICATES else 'is'} new and in use")
    return 0


def _set(args: argparse.Namespace) -> int:
    from infra import initialise
    from infra.catalog import acme, auth
    from infra.progress import Progress

    stack = common.selected(args)
    _check(args.name, {name for name in stack.plan.secrets if initialise.given(name)})
    value = (getpass.getpass(f"{args.name}: ") if sys.stdin.isatty() else sys.stdin.readline()).strip()
    if args.name == acme.BINDING and not re.fullmatch(r"[A-Za-z0-9_-]{20,}=*", value):
        raise MaiaError("no key in base64url", where=f"secrets:{args.name}", mend="copy it as the directory shows it")
    if args.name == auth.SMTP:
        if not value:
            raise MaiaError("no password", where=f"secrets:{args.name}", mend="give it on standard input")
    elif not re.fullmatch(r"[A-Za-z0-9/+=._-]{8,}", value):
        raise MaiaError("no secret key of S3", where=f"secrets:{args.name}", mend="copy it as the service shows it")
    with common.locked(stack, "secrets set"), Progress() as progress, progress.step("engine") as say:
        engine = common.engine(stack, say)
        initialise.begin(stack, engine, say)
        engine.set_secret(args.name, value)
    print(f"{args.name} is set; the next `maia up --stack {stack.name}` brings it into use")
    return 0


def _announce(stack: Stack, engine: Engine, progress: Progress) -> int:
    """The next CA is trusted beside the present one, which signs on."""
    from infra import authority
    from infra.components import certificate

    if authority.NEXT not in stack.secret_names:
        made = authority.Next(*certificate.authority(stack.name), signs=False)
        engine.set_secret(authority.NEXT, made.text())
    _apply(stack, engine, progress)
    print(f"""a new CA is trusted beside the old one, which still signs
give {_published(stack)} to every client outside; restart apps that read it at their start only
then: maia secrets rotate {CA} --finish --stack {stack.name}""")
    return 0


def _retire(stack: Stack, engine: Engine, progress: Progress) -> int:
    """The next CA signs; then the former one is trusted no more. What each write leaves is valid by itself."""
    from infra import authority

    values = engine.secrets()
    begin = f"maia secrets rotate {CA} --stack {stack.name}"
    if authority.NEXT not in values:
        raise MaiaError("no rotation is under way", where=CA, mend=begin)
    following = authority.Next.read(values[authority.NEXT])
    published = _published(stack)
    if not published.exists() or following.certificate not in published.read_text():
        raise MaiaError("the new one was not made known yet", where=CA, mend=begin)
    engine.set_secret(authority.NEXT, dataclasses.replace(following, signs=True).text())
    _apply(stack, engine, progress)
    for name, value in zip(authority.NAMES, (following.certificate, following.key), strict=True):
        engine.set_secret(name, value)
    engine.remove_secret(authority.NEXT)
    # Last, so that what keeps every secret for a restore keeps those that are left.
    _apply(stack, engine, progress)
    print("the new CA signs, the old one is trusted no more")
    return 0


def _published(stack: Stack) -> Path:
    """What clients trust."""
    return stack.site.files(stack.name) / "gateway" / "config" / "ca.crt"


def _apply(stack: Stack, engine: Engine, progress: Progress) -> None:
    from infra.cli.up import apply
    from infra.stack import Stack

    apply(Stack(stack.name, stack.site), engine, progress)


def _check(name: str, known: set[str]) -> None:
    from infra.config import nearest

    if name not in known:
        raise MaiaError(f"no secret {name!r}", where="secrets", mend=nearest(name, known))
