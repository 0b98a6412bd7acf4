"""Check everything and write a signed pack of evidence for an auditor; or verify one."""

from __future__ import annotations

import argparse
from pathlib import Path

from infra.cli import common
from infra.errors import MaiaError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", nargs="?", choices=("verify",), help="whether a pack is genuine; needs no stack")
    parser.add_argument("pack", nargs="?", type=Path, metavar="PACK", help="the pack to verify")
    parser.add_argument("--key", type=Path, metavar="FILE", help="the public key to verify it with (the stack's own)")
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="where the pack goes (the stack's evidence)")


def run(args: argparse.Namespace) -> int:
    if bool(args.action) != bool(args.pack) or (args.key and not args.action) or (args.to and args.action):
        raise MaiaError(
            "verify takes a PACK and --key, writing takes --to", where="evidence", mend="maia evidence --help"
        )
    return _verify(args) if args.action else _write(args)


def _write(args: argparse.Namespace) -> int:
    from checks import pack
    from infra.cli import check
    from infra.progress import Progress

    stack = common.started(args)
    with Progress() as progress:
        with progress.step("engine") as say:
            engine = common.engine(stack, say)
            key = common.signing(stack, engine.secrets())
        result = check.verify(stack, engine, progress)
        with progress.step("pack"):
            path = pack.write(result.evidence, args.to or result.evidence, key)
    print(f"checks:   {result.summary}")
    print(f"evidence: {path}, signed; it is not a certification")
    print(f"verify:   maia evidence verify {path.name}")
    return 0


def _verify(args: argparse.Namespace) -> int:
    from checks import pack
    from infra import signature

    if args.key:
        key = signature.read_key(args.key)
    else:
        stack = common.started(args)
        key = common.signing(stack, common.engine(stack, lambda text: None).secrets()).public_key()
    found = pack.verify(args.pack, key)
    failed = found["counts"]["failed"]
    print(f"genuine: {found['id']}, of the plan {found['plan'][:12]}, signed with {signature.name(key)}")
    print(f"it says: {sum(found['counts'].values())} checks, {failed} failed; {found['notice'].partition('.')[0]}")
    return 0
