"""How work on a server is told: what happens now, and what is worth knowing afterwards.

A provider is a process of the engine's, which hands its standard error on, line by line, as diagnostics.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

NOW, AFTERWARDS = "host> ", "host! "
"""What the lines begin with."""


@dataclass(frozen=True)
class Voice:
    say: Callable[[str], None]
    note: Callable[[str], None]


def through_engine(host: str) -> Voice:
    """For a provider."""
    return Voice(say=lambda text: _tell(NOW, host, text), note=lambda text: _tell(AFTERWARDS, host, text))


def _tell(mark: str, host: str, text: str) -> None:
    print(f"{mark}{host}: {' '.join(text.split())}", file=sys.stderr, flush=True)
