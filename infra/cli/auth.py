"""API keys for clients of the auth service, the keys that it signs with, mail that waits, and its log."""

from __future__ import annotations

import argparse
import json
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from infra.cli import common
from infra.errors import MaiaError
from infra.signing import DAYS, ROLES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from infra.stack import Stack

PART = "auth"
SERVICE = ("python3", "-m", "app.auth")
"""In the part's container, where the key is that opens the mails: a mail lets its reader in."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    apikey = actions.add_parser("apikey", help="print a new API key: what a client is told to send")
    apikey.add_argument("role", choices=ROLES, help="anon: for everybody; service_role: for servers alone, it may all")
    apikey.add_argument("--days", type=int, default=DAYS, metavar="N", help=f"how long it is good ({DAYS})")
    keys = actions.add_parser("keys", help="the keys that sign what people carry")
    steps = keys.add_subparsers(dest="step", metavar="STEP", required=True)
    steps.add_parser("list", help="which one signs, and which are still believed")
    rotate = steps.add_parser("rotate", help="let a new one sign; what was signed before stays good")
    rotate.add_argument("--finish", action="store_true", help="believe the former ones no more")
    rotate.add_argument("--now", action="store_true", help="with --finish: whoever's token they signed is signed out")
    outbox = actions.add_parser("outbox", help="show the mail that waits here because no mail server is named")
    outbox.add_argument("--json", action="store_true", help="one object a line")
    actions.add_parser("audit", help="say whether the log of security events is whole")


def run(args: argparse.Namespace) -> int:
    stack = common.started(args)
    if not stack.plan.auth:
        raise MaiaError("is not there", where=PART, mend="set maia:parts.auth.enabled to true and run maia up")
    match args.action:
        case "apikey":
            return _apikey(stack, args.role, args.days)
        case "outbox":
            return _outbox(stack, as_json=args.json)
        case "audit":
            return _audit(stack)
    if args.step == "list":
        return _list(stack)
    if args.now and not args.finish:
        raise MaiaError("goes with --finish", where="--now", mend="maia auth keys rotate --finish --now")
    return _finish(stack, at_once=args.now) if args.finish else _rotate(stack)


def _apikey(stack: Stack, role: str, days: int) -> int:
    from infra import signing
    from infra.catalog import auth

    if days < 1:
        raise MaiaError(f"{days} is no number of days", where="--days", mend="1 or more")
    print(signing.minted(_secrets(stack, auth.API)[auth.API], role, days))
    return 0


def _list(stack: Stack) -> int:
    from rich.table import Table

    from infra import signing
    from infra.catalog import auth

    table = Table("key", "algorithm", "made", "what it does", box=None, pad_edge=False)
    for number, key in enumerate(signing.read(_secrets(stack, auth.SIGNING)[auth.SIGNING])):
        made = datetime.fromtimestamp(key["iat"], UTC).strftime("%Y-%m-%d %H:%M UTC")
        table.add_row(key["kid"], key["alg"], made, "is believed" if number else "signs")
    common.show(table)
    return 0


def _rotate(stack: Stack) -> int:
    from infra import signing

    kid = _change(stack, signing.rotated)
    seconds = stack.plan.auth.access_seconds if stack.plan.auth else 0
    print(f"""{kid} signs; what was signed before is still believed
in {seconds} s, when no such token is left: maia auth keys rotate --finish --stack {stack.name}""")
    return 0


def _finish(stack: Stack, *, at_once: bool) -> int:
    from infra import signing
    from infra.catalog import auth

    keys = signing.read(_secrets(stack, auth.SIGNING)[auth.SIGNING])
    if len(keys) == 1:
        raise MaiaError(
            "no rotation is under way", where="auth keys", mend=f"maia auth keys rotate --stack {stack.name}"
        )
    lives = stack.plan.auth.access_seconds if stack.plan.auth else 0
    left = int(keys[0]["iat"] + lives - time.time())
    if left > 0 and not at_once:
        raise MaiaError(
            f"tokens that the former keys signed may be good for {left} s more",
            where="auth keys",
            mend="wait, or end them too: --finish --now",
        )
    print(f"{_change(stack, signing.finished)} alone is believed")
    return 0


def _change(stack: Stack, change: Any) -> str:
    """Change the list of keys and bring it into use.

    Returns:
        The name of the key that signs.
    """
    from infra import signing
    from infra.catalog import auth
    from infra.cli.up import apply
    from infra.progress import Progress

    with common.locked(stack, "auth keys rotate"), Progress() as progress:
        with progress.step("engine") as say:
            engine = common.engine(stack, say)
        secret: str = change(_present(engine.secrets(), auth.SIGNING, stack)[auth.SIGNING])
        engine.set_secret(auth.SIGNING, secret)
        apply(common.renewed(stack), engine, progress)
    return str(signing.read(secret)[0]["kid"])


def _secrets(stack: Stack, name: str) -> Mapping[str, str]:
    return _present(common.engine(stack, lambda _: None).secrets(), name, stack)


def _present(secrets: Mapping[str, str], name: str, stack: Stack) -> Mapping[str, str]:
    if name not in secrets:
        raise MaiaError("not made yet", where=f"secrets:{name}", mend=f"maia up --stack {stack.name}")
    return secrets


def _outbox(stack: Stack, *, as_json: bool) -> int:
    code, said, failed = _within(stack, "outbox")
    if code:
        raise MaiaError((failed or said or ["said nothing"])[-1], where=PART, mend=f"maia logs {PART}")
    if as_json:
        sys.stdout.write("".join(f"{line}\n" for line in said))
        return 0
    for mail in map(json.loads, said):
        print(f"{mail['at']}  to {mail['to']}: {mail['subject']}\n\n{mail['text'].strip()}\n")
    if not said:
        sent = stack.plan.auth and stack.plan.auth.smtp
        print(f"nothing waits{f'; mail goes to {sent.host}' if sent else ''}")
    return 0


def _audit(stack: Stack) -> int:
    code, said, failed = _within(stack, "audit")
    if not said:
        raise MaiaError((failed or ["said nothing"])[-1], where=PART, mend=f"maia logs {PART}")
    *faults, whole = map(json.loads, said)
    for fault in faults:
        print(f"chain {fault['chain']}, entry {fault['number']}: {fault['fault']}")
    print(f"{whole['entries']} entries, {whole['faults'] or 'no'} faults, root {whole['root']}")
    return code


def _within(stack: Stack, word: str) -> tuple[int, list[str], list[str]]:
    """A command of the service: how it ended, its output and its errors, by lines."""
    from docker.errors import APIError

    container = common.running(stack, PART)
    try:
        code, output = container.exec_run([*SERVICE, word], demux=True)
    except APIError as error:
        reason = " ".join(str(error.explanation or error).split())
        raise MaiaError(reason, where=PART, mend=f"maia status --stack {stack.name}") from None
    streams: Any = output
    said, failed = ((each or b"").decode(errors="replace").splitlines() for each in streams)
    return int(code or 0), said, failed
