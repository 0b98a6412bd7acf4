"""Data of another Postgres on the way to a release and back: the stack goes down for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from infra.cli import common
from infra.errors import MaiaError

if TYPE_CHECKING:
    from infra.engine import Engine
    from infra.progress import Progress
    from infra.releases import Record
    from infra.stack import Stack


def outlook(stack: Stack) -> Iterator[str]:
    """What it will mean, for people."""
    from infra import major
    from infra.catalog.postgres import MAJOR

    if major.behind(stack):
        told = "all data is carried over, and the stack is down meanwhile"
        yield f"postgres:  {major.found(stack)} → {MAJOR}: {told}"


def forward(stack: Stack, runs: Record, engine: Engine, progress: Progress) -> Stack:
    """The data is of this release's Postgres then, and the stack is to run."""
    from infra import major
    from infra.catalog.postgres import MAJOR

    major.clear(stack)
    if major.behind(stack):
        of = major.found(stack)
        _down(stack, engine, progress)
        with progress.step("postgres") as say:
            made = major.carry(stack, runs, say)
        what = f"{made['rows']} rows in {len(made['databases'])} databases were carried over and compared"
        progress.line(f"Postgres {of} → {MAJOR}: {what}, in {made['seconds']} s")
    stack = common.renewed(stack)
    if not stack.config.running:
        engine.configure("maia:running", "true")
    return common.renewed(stack)


def tidy(stack: Stack, runs: Record, progress: Progress) -> None:
    """After an upgrade without another Postgres nothing leads back to the cluster of an older one."""
    from infra import major

    if major.serves(runs) == major.found(stack):
        with progress.step("postgres") as say:
            if gone := major.forget(stack, say):
                say(f"the cluster of Postgres {', '.join(gone)} is removed")


def refuse(stack: Stack, record: Record, *, data: bool) -> bool:
    """Whether the data must go back too.

    Raises:
        MaiaError: it must, and nobody said so, or it is gone.
    """
    from infra import major

    major.clear(stack)
    of, to = major.found(stack), major.serves(record)
    if of in ("", to):
        return False
    if not major.left(stack, to):
        what = f"release {record.release} reads Postgres {to}, and the data that it left is not there any more"
        mend = "maia restore brings back a point of maia backups list; nothing was changed"
        raise MaiaError(what, where=f"stack {stack.name}", mend=mend)
    if not data:
        what = f"release {record.release} reads Postgres {to}, and what was written since the upgrade is of {of}"
        mend = f"maia rollback --data --stack {stack.name}: what was written since is left behind; nothing was changed"
        raise MaiaError(what, where=f"stack {stack.name}", mend=mend)
    return True


def back(stack: Stack, record: Record, progress: Progress) -> bool:
    """Have the data be what the record's release left.

    Returns:
        Whether it was exchanged.
    """
    from infra import major

    major.clear(stack)
    if not major.owes(stack, record):
        return False
    with progress.step("engine") as say:
        engine = common.engine(stack, say)
    _down(stack, engine, progress)
    with progress.step("postgres") as say:
        major.back(stack, record, say)
    return True


def _down(stack: Stack, engine: Engine, progress: Progress) -> None:
    from infra.cli import up

    engine.configure("maia:running", "false")
    up.apply(common.renewed(stack), engine, progress)
