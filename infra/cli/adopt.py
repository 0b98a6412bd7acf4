"""`maia migrate adopt`: rows of the application in ``public`` become rows of MAIA's own schema, and back."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from infra.cli import common
from infra.errors import MaiaError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.migrate.adopt.outcome import Outcome, Undone
    from infra.stack import Stack


def add_arguments(parser: argparse.ArgumentParser) -> None:
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--plan", action="store_true", help="say what would be adopted, what has no home, what is refused")
    way.add_argument("--undo", action="store_true", help="remove what was adopted and nobody changed since")
    parser.add_argument("--table", metavar="NAME", default="", help="only this one of the application's")
    parser.add_argument("--changed", action="store_true", help="with --undo: also what was changed since")
    parser.add_argument("--json", action="store_true")


def run(stack: Stack, args: argparse.Namespace) -> int:
    if not stack.plan.database:
        raise MaiaError("disabled", where="maia:database.enabled", mend="enable it and run maia up")
    if args.changed and not args.undo:
        raise MaiaError("goes with --undo", where="--changed", mend="maia migrate adopt --undo --changed")
    return _undo(stack, args) if args.undo else _adopt(stack, args)


def _adopt(stack: Stack, args: argparse.Namespace) -> int:
    from infra import adopt
    from infra.progress import Progress

    with common.locked(stack, "migrate adopt"), Progress() as progress:
        with progress.step("engine") as say:
            key = adopt.key(stack, common.engine(stack, say).secrets())
        with progress.step("trying it" if args.plan else "adopt") as say:
            found = (adopt.plan if args.plan else adopt.adopt)(stack, key, say, args.table)
    if args.json:
        _print(found)
    else:
        _tell(found, planned=args.plan)
    return int(any(each.refused or each.changed for each in found))


def _undo(stack: Stack, args: argparse.Namespace) -> int:
    from infra import adopt
    from infra.progress import Progress

    with common.locked(stack, "migrate adopt --undo"), Progress() as progress, progress.step("undo") as say:
        found = adopt.undo(stack, say, args.table, changed=args.changed)
    if args.json:
        _print(found)
    else:
        _tell_undone(found)
    return int(any(each.changed or each.held for each in found))


def _print(found: Sequence[Outcome] | Sequence[Undone]) -> None:
    document: list[dict[str, Any]] = [asdict(each) for each in found]
    print(json.dumps(document, indent=2, ensure_ascii=False))


def _tell(found: Sequence[Outcome], *, planned: bool) -> None:
    from rich.table import Table

    heads = ("map", "into", "would adopt" if planned else "adopted", "before", "there", "refused", "stays in public")
    shown = Table(*heads, box=None, pad_edge=False)
    for each in found:
        if not each.why:
            counts = (each.adopted, each.before, each.there, each.left)
            shown.add_row(each.name, each.target, *(str(count or "") for count in counts), ", ".join(each.homeless))
    common.show(shown)
    for each in found:
        for reason in each.refused:
            more = ", …" if reason.rows > len(reason.keys) else ""
            print(f"refused:    {each.source} {reason.why}: {reason.rows} rows ({', '.join(reason.keys)}{more})")
        if each.changed:
            print(
                f"changed:    {each.source} since it was adopted: {_some(each.changed)}"
                " (undo its table, and adopt it anew)"
            )
        if each.ciphertext and each.adopted:
            print(
                f"ciphertext: {each.source}: {', '.join(each.ciphertext)};"
                " the plaintext stays in public until you drop it"
            )
    for each in found:
        if each.why:
            print(f"stays:      {each.source}: {each.why}")
    print(f"{'would adopt' if planned else 'adopted'}: {sum(each.adopted for each in found)} rows")


def _tell_undone(found: Sequence[Undone]) -> None:
    for each in found:
        if each.changed:
            print(f"kept: {each.target} was changed since: {_some(each.changed)} (--changed removes them)")
        if each.held:
            print(f"kept: {each.target} has rows that others hang on: {_some(each.held)}")
    print(f"removed: {sum(each.removed for each in found)} rows")


def _some(keys: Sequence[str]) -> str:
    from app.migrate.adopt.outcome import SHOWN

    return ", ".join(keys[:SHOWN]) + (f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else "")
