"""Grafana's dashboards, as code. ``queries`` tells every query, so that a test can run each of them."""

from __future__ import annotations

from infra.dashboards.build import Board, build
from infra.dashboards.content import BOARDS
from infra.errors import MaiaError

__all__ = ["BOARDS", "Board", "dashboard", "queries"]


def dashboard(name: str) -> str:
    """The JSON that Grafana reads of one dashboard; the same text each time.

    Raises:
        MaiaError: there is none of that name.
    """
    for board in BOARDS:
        if board.uid == name:
            return build(board)
    raise MaiaError(
        f"no dashboard {name!r}", where="infra/dashboards", mend=f"one of {', '.join(board.uid for board in BOARDS)}"
    )


def queries() -> list[tuple[str, str, str]]:
    """Every query: dashboard, panel, expression."""
    return [
        (board.uid, panel.title, query.expr) for board in BOARDS for panel in board.panels for query in panel.queries
    ]
