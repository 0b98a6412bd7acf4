"""What a container said last."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from docker.models.containers import Container

LINES = 20
"""A trace hides its cause above a dozen lines."""


def last(container: Container) -> str:
    """Its last log lines, as one line."""
    lines = container.logs(tail=LINES).decode(errors="replace").splitlines()
    return " ⏎ ".join(line.strip() for line in lines if line.strip()) or "no output"
