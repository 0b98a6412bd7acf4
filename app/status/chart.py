"""A line chart as the geometry of an SVG; the template draws it, so nothing here needs escaping."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from app.status.units import Unit

WIDTH = 300
HEIGHT = 80

Point = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Chart:
    lines: tuple[str, ...]
    """Paths, one for each stretch without a gap."""
    areas: tuple[str, ...]
    """The same, closed to the ground."""
    last: str
    top: str
    """Label of the upper end of the axis; the lower is zero."""
    ground: str
    summary: str
    """What the picture says, for those who do not see it."""


def draw(
    points: Sequence[Point], *, start: float, end: float, step: float, unit: Unit, full: float | None = None
) -> Chart:
    """Chart ``points`` between two times, ``step`` seconds apart where nothing is missing.

    Args:
        full: upper end of the axis; else it follows from the values.
    """
    values = [value for _, value in points]
    top = full or ceiling(max(values))

    def place(point: Point) -> str:
        x = (point[0] - start) / (end - start) * WIDTH
        y = HEIGHT - min(max(point[1], 0) / top, 1) * HEIGHT
        return f"{x:.1f} {y:.1f}"

    lines, areas = [], []
    for stretch in _stretches(points, step * 1.5):
        if len(stretch) == 1:  # a lone point, drawn as a dash as long as what it stands for
            stretch = [(stretch[0][0] - step / 2, stretch[0][1]), (stretch[0][0] + step / 2, stretch[0][1])]
        line = "M" + " L".join(place(point) for point in stretch)
        lines.append(line)
        areas.append(f"{line} L{place((stretch[-1][0], 0))} L{place((stretch[0][0], 0))} Z")
    return Chart(
        lines=tuple(lines),
        areas=tuple(areas),
        last=unit(values[-1]),
        top=unit(top),
        ground=unit(0),
        summary=f"now {unit(values[-1])}, lowest {unit(min(values))}, highest {unit(max(values))}",
    )


def ceiling(value: float) -> float:
    """The least 1, 2 or 5 times a power of ten that is not below ``value``; 1 for next to nothing.

    Above 1024 a power of two, since those are bytes.
    """
    if value < 1e-12:
        return 1
    if value >= 1024:
        return float(2 ** math.ceil(math.log2(value)))
    power = 10.0 ** math.floor(math.log10(value))
    return next((factor * power for factor in (1, 2, 5) if factor * power >= value), 10 * power)


def _stretches(points: Sequence[Point], gap: float) -> Iterator[list[Point]]:
    stretch: list[Point] = []
    for point in points:
        if stretch and point[0] - stretch[-1][0] > gap:
            yield stretch
            stretch = []
        stretch.append(point)
    if stretch:
        yield stretch
