"""Numbers and times as a person reads them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def number(value: float) -> str:
    """Three significant digits, thousands apart: ``0.12``, ``12.3``, ``1 234``."""
    if value == 0 or abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}".replace(",", "\N{NO-BREAK SPACE}")
    digits = 1 if abs(value) >= 10 else 2
    return f"{value:.{digits}f}"


def ratio(value: float) -> str:
    """A share as percent; never rounded up to all of it."""
    percent = value * 100
    if 99.9 < percent < 100:
        return f"{int(percent * 1000) / 1000:.3f} %" if percent > 99.99 else f"{int(percent * 100) / 100:.2f} %"
    return f"{percent:.0f} %" if percent in (0, 100) else f"{percent:.1f} %"


def size(value: float) -> str:
    """Bytes."""
    for unit in _BINARY:
        if abs(value) < 1024 or unit == _BINARY[-1]:
            break
        value /= 1024
    return f"{number(value)} {unit}"


def seconds(value: float) -> str:
    """A short time."""
    if value < 0.001:
        return f"{number(value * 1e6)} µs"
    return f"{number(value * 1000)} ms" if value < 1 else f"{number(value)} s"


def per_second(value: float) -> str:
    return f"{number(value)} /s"


def duration(value: float) -> str:
    """A long time, by its largest unit."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if value >= length:
            return f"{int(value // length)} {unit}"
    return f"{max(int(value), 0)} s"


def clock(value: float) -> str:
    """A time in ISO 8601, in UTC."""
    return datetime.fromtimestamp(value, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def moment(value: float) -> str:
    """A time as a person writes it, in UTC."""
    return datetime.fromtimestamp(value, UTC).strftime("%-d %B %Y, %H:%M:%S UTC")


Unit = Callable[[float], str]
