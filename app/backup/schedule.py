"""When the next point is due, and the next drill. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

RETRY = timedelta(minutes=15)
"""Between a point that failed and the next try."""
DAY = 86400.0


def due(at: str, now: datetime, succeeded: float | None, tried: float | None) -> bool:
    """Whether a point must be made now.

    Args:
        at: time of day, ``HH:MM`` UTC; empty for never.
        succeeded: when the last one was made, seconds since the epoch. In the future, as after a clock that was set
            back, it counts for nothing.
        tried: when the last one was begun.
    """
    if not at:
        return False
    hour, minute = (int(part) for part in at.split(":"))
    slot = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    if slot > now:
        slot -= timedelta(days=1)
    done = _moment(succeeded, now)
    if done and done >= slot:
        return False
    begun = _moment(tried, now)
    return not begun or now - begun >= RETRY


def drill_due(days: int, now: float, succeeded: float | None, began: float | None) -> float | None:
    """Until when a drill must have gone well, in seconds since the epoch; None where none is wanted.

    Args:
        days: from one to the next; the day itself is left for it.
        succeeded: when the last one went well; in the future (the clock was set back), it counts for nothing.
        began: since when points are looked after: the grace of an appliance that never had one.
    """
    since = [each for each in (succeeded, began) if each and each <= now]
    return max(since, default=now) + (days + 1) * DAY if days else None


def copy_due(every: int, now: datetime, succeeded: float | None, tried: float | None, *, news: bool) -> bool:
    """Whether the archive must be brought to a copy now.

    Args:
        every: minutes between two runs, and after one that failed.
        news: whether there is a point that the copy lacks.
    """
    begun, done = _moment(tried, now), _moment(succeeded, now)
    if not begun or now - begun >= timedelta(minutes=every):
        return True
    return news and done is not None and done >= begun


def _moment(seconds: float | None, now: datetime) -> datetime | None:
    found = datetime.fromtimestamp(seconds, UTC) if seconds else None
    return found if found and found <= now else None
