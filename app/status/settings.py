"""What the status page must be told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Settings:
    plan: Path
    """The plan as JSON; read again when it changes."""
    prometheus: str
    """Base URL."""
    exit: str
    """Base URL of the exit proxy."""
    part: str = "status"
    """The part of the plan that this is."""
    name: str = "MAIA Sovereign"
    """What the page calls the appliance."""
