"""The actions of `maia migrate` that say who serves: sync, cutover, rollback, finalize."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.cli import common

if TYPE_CHECKING:
    from app.migrate.following import Following
    from infra.stack import Stack

Actions = Any
"""What argparse gives for the actions of a verb, whose type it keeps to itself."""


def add_arguments(actions: Actions) -> None:
    sync = actions.add_parser("sync", help="follow the source while it serves, until Ctrl-C; goes on where it was")
    sync.add_argument("--once", action="store_true", help="end when what was written by now is here")
    sync.add_argument("--stop", action="store_true", help="take away what following made at the source")
    cutover = actions.add_parser("cutover", help="freeze the source, compare, and serve here")
    cutover.add_argument("--frozen", action="store_true", help="what cannot be frozen from here is stopped already")
    cutover.add_argument("--one-way", action="store_true", help="what is written here does not flow back")
    rollback = actions.add_parser("rollback", help="return to the source with what was written here")
    finalize = actions.add_parser("finalize", help="give up the way back, and all that following made")
    for action in (sync, cutover, rollback, finalize):
        action.add_argument("--source", type=Path, metavar="FILE", required=True, help="describes the source")


def run(stack: Stack, args: argparse.Namespace) -> int:
    if args.action == "sync":
        return _sync(stack, args)
    from infra import migrate
    from infra.progress import Progress

    with common.locked(stack, f"migrate {args.action}"), Progress() as progress:
        with progress.step("engine") as say:
            key = common.signing(stack, common.engine(stack, say).secrets())
        with progress.step(args.action) as say, migrate.translated():
            turn = migrate.turn(stack, args.source, key, say)
            match args.action:
                case "cutover":
                    found = turn.cutover(frozen=args.frozen, way_back=not args.one_way)
                case "rollback":
                    found = turn.rollback()
                case _:
                    found = turn.finalize()
    if found.state == "returned" and args.action == "finalize":
        print("follows:  nothing any more; the source serves")
    tell(stack, args.source)
    return 0


def _sync(stack: Stack, args: argparse.Namespace) -> int:
    from infra import migrate
    from infra.progress import Progress

    def wait(seconds: float) -> bool:
        if not args.once:
            time.sleep(seconds)
        return not args.once

    with Progress() as progress, progress.step("sync") as say:
        if args.stop:
            migrate.stop(stack, args.source, say)
        else:
            migrate.sync(stack, args.source, say, wait)
    tell(stack, args.source)
    return 0


def document(stack: Stack, source: Path | None) -> dict[str, object] | None:
    """Where following stands, as JSON has it; none where the source is not followed."""
    from infra import migrate

    found, others, held = migrate.standing(stack, source)
    if found is None:
        return None
    return {
        "state": found.state,
        "serves": found.serves,
        "slot": found.slotted,
        "why": found.why,
        "way_back": found.way_back,
        "altered": found.altered,
        "behind_bytes": found.behind,
        "held_bytes": held.bytes if held else found.held,
        "slot_status": held.status if held else None,
        "room_bytes": held.room if held else None,
        "latest_change": _moment(found.latest),
        "seen": _moment(found.seen),
        "verified": _moment(found.verified),
        "serving_since": _moment(found.since),
        "compared_tables": others,
    }


def tell(stack: Stack, source: Path | None) -> None:
    """The same for people."""
    from infra import migrate
    from infra.sizes import size

    found, others, held = migrate.standing(stack, source)
    if found is None:
        return
    print(f"follows:  {found.state}; {found.serves} serves")
    if found.why:
        print(f"note:     {found.why}")
    for each in found.altered:
        print(f"differs:  {each}")
    if found.behind is not None:
        print(f"behind:   {size(found.behind)} when it was looked at {_seen(found)}")
    bytes_held = held.bytes if held else found.held
    if bytes_held is not None:
        print(f"slot:     holds back {size(bytes_held)} of WAL{_bound(held.room) if held else ''}")
    elif found.slotted and held is None and source:
        print("slot:     is not there")
    if found.slotted and others:
        print(f"compared: {len(others)} tables that no slot tells of, as {_some(others)}")


def _bound(room: int | None) -> str:
    from infra.sizes import size

    if room is None:
        return "; the server does not bound it (max_slot_wal_keep_size): do not leave it unread"
    return f"; after {size(max(0, room))} more it is lost, and all rows are compared anew"


def _seen(found: Following) -> str:
    latest = f", the last change of {_moment(found.latest)}" if found.latest else ""
    return f"{_moment(found.seen)}{latest}"


def _some(others: dict[str, str]) -> str:
    return "; ".join(f"{name} {why}" for name, why in list(others.items())[:3])


def _moment(at: Any) -> str | None:
    return at.isoformat(timespec="seconds") if at else None
