"""How long the disk will last, by what Prometheus saw of its growth. Reads only."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_api_client.exceptions import PrometheusApiClientException
from requests import RequestException

from infra.engine import Engine
from infra.errors import MaiaError
from infra.measurements import OPERATOR, Measurements
from infra.sizes import size
from infra.stack import Stack
from infra.toolchain import pulumi

DAY = 86400.0
WINDOW = "7d"
"""What growth is taken from."""
LEAST = 6 * 3600.0
"""Seconds of measurements below which a trend is noise."""
SOON = 30.0
"""Days: less is worth a word."""

DISK = 'node_filesystem_avail_bytes{fstype!~"tmpfs|ramfs"}'
GROWING = {
    "database": ("pg_database_size_bytes", "datname"),
    "bucket": ("minio_bucket_usage_total_bytes", "bucket"),
}
"""Kind to its metric and the label that names it. Logs are not among them: each part keeps 30 MB of them at most."""


@dataclass(frozen=True, kw_only=True)
class Forecast:
    free: float
    """Bytes left on the fullest disk."""
    pace: float
    """Bytes a day that become used; 0 or less where nothing does, or too little is known."""
    growing: tuple[tuple[str, float], ...] = ()
    """What grows most, with bytes a day."""

    @property
    def days(self) -> float | None:
        """Until the disk is full at this pace; None for never."""
        return self.free / self.pace if self.pace > 0 else None

    @property
    def soon(self) -> bool:
        """Whether it is worth a finding."""
        return self.days is not None and self.days < SOON

    def __str__(self) -> str:
        line = f"{size(self.free)} are free"
        if self.days is None:
            return f"{line}, and what is known shows no growth"
        most = ", ".join(f"{name} by {size(pace)} a day" for name, pace in self.growing)
        return f"{line}: {self.days:.0f} days at the last week's pace" + (f"; most grows {most}" if most else "")


def of(stack: Stack) -> Forecast | None:
    """The stack's; None where nothing measures, which is another finding's business."""
    try:
        plan = stack.plan
        if not stack.exists() or not plan.running or not plan.has("prometheus"):
            return None
        secrets = Engine(pulumi.prepare(lambda text: None), stack.site, stack.name).secrets()
        return look(Measurements(plan, stack.site, secrets[OPERATOR]))
    except (MaiaError, OSError, RequestException, PrometheusApiClientException):
        return None


def look(measurements: Measurements) -> Forecast | None:
    """What is known; None without a measurement of a disk.

    Raises:
        requests.RequestException, prometheus_api_client.PrometheusApiClientException: Prometheus does not answer.
    """
    free = _values(measurements, f"min by (device) ({DISK})")
    if not free:
        return None
    device = min(free, key=lambda name: free[name])
    # Seconds between the first and the last sample of the window.
    known = _values(measurements, f"max(timestamp({DISK}) - min_over_time(timestamp({DISK})[{WINDOW}:5m]))")
    if max(known.values(), default=0) < LEAST:
        return Forecast(free=free[device], pace=0)
    pace = _values(measurements, f"-deriv({DISK}[{WINDOW}]) * {DAY:.0f}")
    growing = {
        f"{kind} {name}": value
        for kind, (metric, label) in GROWING.items()
        for name, value in _values(measurements, f"deriv({metric}[{WINDOW}]) * {DAY:.0f}", label).items()
        if value > 0
    }
    most = sorted(growing.items(), key=lambda item: -item[1])[:3]
    return Forecast(free=free[device], pace=pace.get(device, 0), growing=tuple(most))


def _values(measurements: Measurements, expression: str, label: str = "device") -> dict[str, float]:
    return {
        str(series["metric"].get(label, "")): float(series["value"][1]) for series in measurements.query(expression)
    }
