"""The measurements that the page draws."""

from __future__ import annotations

from dataclasses import dataclass

from app.status import units
from app.status.units import Unit

_FREE = 'node_filesystem_avail_bytes{fstype!~"tmpfs|ramfs"}'
_TRANSACTIONS = "sum(rate(pg_stat_database_xact_commit[2m]) + rate(pg_stat_database_xact_rollback[2m]))"


@dataclass(frozen=True, kw_only=True)
class Panel:
    title: str
    query: str
    """Gives one series."""
    unit: Unit
    full: float | None = None
    """Upper end of the axis where the measurement has one."""


PANELS = (
    Panel(
        title="Processors in use",
        query='1 - avg(rate(node_cpu_seconds_total{mode="idle"}[2m]))',
        unit=units.ratio,
        full=1,
    ),
    Panel(
        title="Memory in use",
        query="1 - sum(node_memory_MemAvailable_bytes) / sum(node_memory_MemTotal_bytes)",
        unit=units.ratio,
        full=1,
    ),
    Panel(title="Free on the fullest disk", query=f"min({_FREE})", unit=units.size),
    Panel(title="Postgres transactions", query=_TRANSACTIONS, unit=units.per_second),
    Panel(
        title="Postgres time per transaction",
        query=f"sum(rate(pg_stat_database_active_time_seconds_total[2m])) / ({_TRANSACTIONS} > 0)",
        unit=units.seconds,
    ),
    Panel(
        title="Postgres cache hits",
        query=(
            "sum(increase(pg_stat_database_blks_hit[10m]))"
            " / (sum(increase(pg_stat_database_blks_hit[10m]) + increase(pg_stat_database_blks_read[10m])) > 0)"
        ),
        unit=units.ratio,
        full=1,
    ),
    Panel(title="Redis commands", query="sum(rate(redis_commands_processed_total[2m]))", unit=units.per_second),
    Panel(title="Objects stored", query="sum(minio_cluster_usage_total_bytes)", unit=units.size),
    Panel(title="Gateway answers in", query='max(probe_duration_seconds{part="gateway"})', unit=units.seconds),
)
