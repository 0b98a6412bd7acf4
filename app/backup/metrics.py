"""What Prometheus is told about recovery points."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, ProcessCollector, disable_created_metrics
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.backup import guard, places, schedule, status
from app.backup.care import Care
from app.backup.guard import Guard
from app.backup.places import ARCHIVE, Settings
from app.backup.wal import Shipper

disable_created_metrics()  # type: ignore[no-untyped-call]

REMEMBERED = {
    "point_succeeded": ("maia_backup_last_success_timestamp_seconds", "When the last point was made."),
    "point_seconds": ("maia_backup_last_duration_seconds", "How long the last point took to make."),
    "point_size": ("maia_backup_last_size_bytes", "Bytes that a restore of the last point needs."),
    "point_added": ("maia_backup_last_added_bytes", "Bytes that the last point added to the archive, WAL apart."),
    "references_absent": ("maia_backup_objects_absent", "Objects that rows of the last point name and it lacks."),
    "references_unnamed": ("maia_backup_objects_unnamed", "Objects of it, deleted ones too, that no row names."),
    "verify_succeeded": ("maia_backup_last_verify_timestamp_seconds", "When the archive was last found whole."),
    "drill_succeeded": ("maia_backup_last_drill_timestamp_seconds", "When a point was last restored and found whole."),
    "drill_rto": ("maia_backup_drill_rto_seconds", "From its start until the restored stack was checked."),
    "drill_rpo": ("maia_backup_drill_rpo_seconds", "Age of the oldest commit that the archive lacked as it began."),
}
OF_COPIES = {
    "copy_succeeded": ("maia_backup_copy_last_success_timestamp_seconds", "When the archive was last brought there."),
    "copy_seconds": ("maia_backup_copy_last_duration_seconds", "How long that took."),
    "added": ("maia_backup_copy_last_added_bytes", "Bytes that it added there."),
    "verify_succeeded": ("maia_backup_copy_last_verify_timestamp_seconds", "When the copy was last found whole."),
}


class Backups(Collector):
    def __init__(self, shipper: Shipper, kept: Guard, care: Care, settings: Settings) -> None:
        self._shipper, self._guard, self._care, self._drill = shipper, kept, care, settings.drill
        self._copies = {each.name: each.status for each in settings.copies}

    def collect(self) -> Iterator[Metric]:
        known = status.read()
        for key, (name, about) in REMEMBERED.items():
            if key in known:
                yield GaugeMetricFamily(name, about, value=float(known[key]))
        for job in ("point", "verify", "drill", "references"):
            yield GaugeMetricFamily(
                f"maia_backup_{job}_failing",
                f"Whether the last one failed ({job}).",
                value=float(bool(known.get(f"{job}_error"))),
            )
        due = schedule.drill_due(self._drill, time.time(), known.get("drill_succeeded"), known.get("began"))
        if due is not None:
            yield GaugeMetricFamily(
                "maia_backup_drill_due_timestamp_seconds", "Until when the next drill must have gone well.", value=due
            )
        yield GaugeMetricFamily(
            "maia_backup_wal_waiting_segments",
            "WAL segments that are not in the archive yet.",
            value=float(len(self._shipper.waiting())),
        )
        yield GaugeMetricFamily(
            "maia_backup_wal_waiting_seconds", "How long the oldest of them waits.", value=self._shipper.oldest()
        )
        yield GaugeMetricFamily(
            "maia_backup_wal_failing",
            "Whether the last try to archive WAL failed.",
            value=float(bool(self._shipper.error)),
        )
        yield from self._disk()
        yield from self._room()
        yield from self._wanted()
        yield from self._away()

    def _room(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "maia_guard_read_only",
            "Whether the databases take no writes for lack of room.",
            value=float(self._guard.held),
        )
        yield GaugeMetricFamily("maia_guard_free_bytes", "Bytes Postgres could still write.", value=float(guard.free()))
        yield GaugeMetricFamily(
            "maia_guard_reserve_bytes", "Bytes below which it takes no writes.", value=float(self._guard.reserve)
        )

    def _wanted(self) -> Iterator[Metric]:
        if not self._care.looked:
            return
        yield GaugeMetricFamily(
            "maia_care_last_look_timestamp_seconds",
            "When tables and indexes were last looked at.",
            value=self._care.looked,
        )
        family = GaugeMetricFamily(
            "maia_care_wanted", "Tables and indexes that want it, by what.", labels=["database", "action"]
        )
        for labels, count in self._care.wanted.items():
            family.add_metric(labels, float(count))
        yield family

    def _away(self) -> Iterator[Metric]:
        known = {name: status.read(file) for name, file in self._copies.items()}
        for key, (metric, about) in OF_COPIES.items():
            family = GaugeMetricFamily(metric, about, labels=["copy"])
            for name, found in known.items():
                if key in found:
                    family.add_metric([name], float(found[key]))
            yield family
        for job, metric in (("copy", "maia_backup_copy_failing"), ("verify", "maia_backup_copy_verify_failing")):
            family = GaugeMetricFamily(metric, f"Whether the last {job} failed.", labels=["copy"])
            for name, found in known.items():
                family.add_metric([name], float(bool(found.get(f"{job}_error"))))
            yield family

    def _disk(self) -> Iterator[Metric]:
        found = os.statvfs(ARCHIVE)
        yield GaugeMetricFamily(
            "maia_backup_archive_free_bytes",
            "Free space for the archive.",
            value=float(found.f_bavail * found.f_frsize),
        )
        yield GaugeMetricFamily(
            "maia_backup_archive_size_bytes", "Size of its file system.", value=float(found.f_blocks * found.f_frsize)
        )
        yield GaugeMetricFamily(
            "maia_backup_same_disk",
            "Whether the archive is on the file system it is to outlive.",
            value=float(places.same_disk()),
        )


def registry(shipper: Shipper, kept: Guard, care: Care, settings: Settings) -> CollectorRegistry:
    made = CollectorRegistry()
    ProcessCollector(registry=made)
    made.register(Backups(shipper, kept, care, settings))
    return made
