"""What became, or would become, of each map's rows."""

from __future__ import annotations

from dataclasses import dataclass, field

SHOWN = 5
"""How many keys are named of those that are refused for one reason."""


@dataclass(frozen=True)
class Reason:
    """Why some rows of a table stay in ``public``."""

    why: str
    rows: int
    keys: tuple[str, ...]
    """The first of them."""


@dataclass(frozen=True)
class Outcome:
    """One map's."""

    name: str
    source: str
    target: str
    why: str = ""
    """Why none of its rows are adopted."""
    adopted: int = 0
    """Now, or by the plan."""
    before: int = 0
    """By an earlier run."""
    there: int = 0
    """Rows that ours had already under the same key."""
    refused: tuple[Reason, ...] = ()
    changed: tuple[str, ...] = ()
    """Rows that were changed in public since they were adopted."""
    taken: tuple[str, ...] = ()
    ciphertext: tuple[str, ...] = ()
    """Columns that become ciphertext."""
    homeless: tuple[str, ...] = ()
    """Columns that stay in public."""
    digest: str = ""
    """Of the rows that were adopted now, the same on both sides."""

    @property
    def left(self) -> int:
        """Rows that are refused."""
        return sum(each.rows for each in self.refused)


@dataclass(frozen=True)
class Undone:
    """What was taken back of one map."""

    name: str
    target: str
    removed: int = 0
    gone: int = 0
    """Somebody else had removed it."""
    changed: tuple[str, ...] = ()
    """Keys of ours that were written to since, and stay."""
    held: tuple[str, ...] = field(default=())
    """Keys of ours that other rows hang on, and stay."""
