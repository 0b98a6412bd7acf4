"""What the dashboards show."""

from __future__ import annotations

from infra.dashboards.build import Board, Panel, Query

_DISKS = '{fstype!~"tmpfs|ramfs"}'

APPLIANCE = Board(
    uid="appliance",
    title="MAIA: appliance",
    panels=(
        Panel(
            title="Parts that answer",
            number=True,
            unit="short",
            queries=(Query('sum(min by (part) (up{job!="probe"} or probe_success))'),),
        ),
        Panel(
            title="Alerts that fire",
            number=True,
            unit="short",
            queries=(Query('count(ALERTS{alertstate="firing"}) or vector(0)'),),
        ),
        Panel(
            title="Refused on the way out",
            number=True,
            unit="short",
            about="Requests that the exit proxy refused in the last day.",
            queries=(Query("sum(increase(maia_exit_denied_total[1d])) or vector(0)"),),
        ),
        Panel(
            title="Certificate valid for",
            number=True,
            unit="s",
            queries=(Query("min(probe_ssl_earliest_cert_expiry) - time()"),),
        ),
        Panel(
            title="Health",
            unit="bool",
            top=1,
            queries=(Query('min by (part) (up{job!="probe"} or probe_success)', "{{part}}"),),
        ),
        Panel(
            title="Processors",
            unit="percentunit",
            top=1,
            queries=(
                Query(
                    'sum by (mode) (rate(node_cpu_seconds_total{mode!="idle"}[5m]))'
                    ' / on () group_left () count(node_cpu_seconds_total{mode="idle"})',
                    "{{mode}}",
                ),
            ),
        ),
        Panel(
            title="Memory",
            unit="bytes",
            queries=(
                Query("node_memory_MemTotal_bytes - node_memory_MemAvailable_bytes", "in use"),
                Query("node_memory_MemTotal_bytes", "all"),
            ),
        ),
        Panel(
            title="Pressure",
            unit="percentunit",
            about="Share of the time in which something waited for it.",
            queries=(
                Query("rate(node_pressure_cpu_waiting_seconds_total[5m])", "processors"),
                Query("rate(node_pressure_memory_waiting_seconds_total[5m])", "memory"),
                Query("rate(node_pressure_io_waiting_seconds_total[5m])", "disks"),
            ),
        ),
        Panel(
            title="Disks, free",
            unit="bytes",
            queries=(Query(f"min by (device) (node_filesystem_avail_bytes{_DISKS})", "{{device}}"),),
        ),
        Panel(
            title="Disks, traffic",
            unit="Bps",
            queries=(
                Query("sum(rate(node_disk_read_bytes_total[5m]))", "read"),
                Query("sum(rate(node_disk_written_bytes_total[5m]))", "written"),
            ),
        ),
        Panel(title="Probes", unit="s", queries=(Query("probe_duration_seconds", "{{part}}"),)),
        Panel(
            title="Through the exit proxy",
            unit="Bps",
            queries=(Query("rate(maia_exit_bytes_total[5m])", "{{direction}}"),),
        ),
    ),
)

POSTGRES = Board(
    uid="postgres",
    title="MAIA: Postgres",
    panels=(
        Panel(title="Connections", number=True, unit="short", queries=(Query("sum(pg_stat_database_numbackends)"),)),
        Panel(
            title="Of the allowed",
            number=True,
            unit="percentunit",
            queries=(Query("sum(pg_stat_database_numbackends) / max(pg_settings_max_connections)"),),
        ),
        Panel(title="Size", number=True, unit="bytes", queries=(Query("sum(pg_database_size_bytes)"),)),
        Panel(
            title="Read from memory",
            number=True,
            unit="percentunit",
            queries=(
                Query(
                    "sum(rate(pg_stat_database_blks_hit[1h]))"
                    " / (sum(rate(pg_stat_database_blks_hit[1h]) + rate(pg_stat_database_blks_read[1h])) > 0)"
                ),
            ),
        ),
        Panel(
            title="Transactions",
            unit="ops",
            queries=(
                Query("sum(rate(pg_stat_database_xact_commit[5m]))", "committed"),
                Query("sum(rate(pg_stat_database_xact_rollback[5m]))", "rolled back"),
            ),
        ),
        Panel(
            title="Time per transaction",
            unit="s",
            queries=(
                Query(
                    "sum by (datname) (rate(pg_stat_database_active_time_seconds_total[5m]))"
                    " / (sum by (datname) (rate(pg_stat_database_xact_commit[5m])"
                    " + rate(pg_stat_database_xact_rollback[5m])) > 0)",
                    "{{datname}}",
                ),
            ),
        ),
        Panel(
            title="Rows",
            unit="ops",
            queries=tuple(
                Query(f"sum(rate(pg_stat_database_tup_{what}[5m]))", what)
                for what in ("fetched", "inserted", "updated", "deleted")
            ),
        ),
        Panel(
            title="Sessions by state",
            unit="short",
            queries=(Query("sum by (state) (pg_stat_activity_count)", "{{state}}"),),
        ),
        Panel(title="Locks", unit="short", queries=(Query("sum by (mode) (pg_locks_count) > 0", "{{mode}}"),)),
        Panel(
            title="Deadlocks and temporary files",
            unit="short",
            queries=(
                Query("sum(increase(pg_stat_database_deadlocks[5m]))", "deadlocks"),
                Query("sum(increase(pg_stat_database_temp_files[5m]))", "temporary files"),
            ),
        ),
        Panel(
            title="WAL archive",
            unit="short",
            queries=(
                Query("increase(pg_stat_archiver_archived_count[5m])", "archived"),
                Query("increase(pg_stat_archiver_failed_count[5m])", "failed"),
            ),
        ),
    ),
)

REDIS = Board(
    uid="redis",
    title="MAIA: Redis",
    panels=(
        Panel(title="Clients", number=True, unit="short", queries=(Query("sum(redis_connected_clients)"),)),
        Panel(title="Keys", number=True, unit="short", queries=(Query("sum(redis_db_keys)"),)),
        Panel(title="Rejected", number=True, unit="short", queries=(Query("sum(redis_rejected_connections_total)"),)),
        Panel(title="Up for", number=True, unit="s", queries=(Query("min(redis_uptime_in_seconds)"),)),
        Panel(
            title="Commands",
            unit="ops",
            queries=(Query("topk(8, sum by (cmd) (rate(redis_commands_total[5m])))", "{{cmd}}"),),
        ),
        Panel(
            title="Memory",
            unit="bytes",
            queries=(Query("redis_memory_used_bytes", "in use"), Query("redis_memory_max_bytes", "allowed")),
        ),
        Panel(
            title="Latency, 99th percentile",
            unit="µs",
            queries=(Query('topk(8, redis_latency_percentiles_usec{quantile="99"})', "{{cmd}}"),),
        ),
        Panel(
            title="Network",
            unit="Bps",
            queries=(
                Query("rate(redis_net_input_bytes_total[5m])", "in"),
                Query("rate(redis_net_output_bytes_total[5m])", "out"),
            ),
        ),
        Panel(
            title="Keys that went",
            unit="ops",
            queries=(
                Query("rate(redis_expired_keys_total[5m])", "expired"),
                Query("rate(redis_evicted_keys_total[5m])", "evicted"),
            ),
        ),
    ),
)

OBJECTS = Board(
    uid="objects",
    title="MAIA: objects",
    panels=(
        Panel(title="Healthy", number=True, unit="bool", queries=(Query("min(minio_cluster_health_status)"),)),
        Panel(title="Stored", number=True, unit="bytes", queries=(Query("sum(minio_cluster_usage_total_bytes)"),)),
        Panel(title="Objects", number=True, unit="short", queries=(Query("sum(minio_cluster_usage_object_total)"),)),
        Panel(
            title="Free",
            number=True,
            unit="bytes",
            queries=(Query("min(minio_cluster_capacity_usable_free_bytes)"),),
        ),
        Panel(
            title="Requests",
            unit="reqps",
            queries=(Query("sum by (api) (rate(minio_s3_requests_total[5m])) or vector(0)", "{{api}}"),),
        ),
        Panel(
            title="Refused",
            unit="reqps",
            queries=(
                Query("sum(rate(minio_s3_requests_rejected_auth_total[5m]))", "credentials"),
                Query("sum(rate(minio_s3_requests_rejected_invalid_total[5m]))", "not valid"),
            ),
        ),
        Panel(
            title="Traffic",
            unit="Bps",
            queries=(
                Query("sum(rate(minio_s3_traffic_received_bytes[5m]))", "received"),
                Query("sum(rate(minio_s3_traffic_sent_bytes[5m]))", "sent"),
            ),
        ),
        Panel(
            title="Drives",
            unit="short",
            queries=(
                Query("sum(minio_cluster_drive_online_total)", "online"),
                Query("sum(minio_cluster_drive_offline_total)", "offline"),
            ),
        ),
    ),
)

BOARDS = (APPLIANCE, POSTGRES, REDIS, OBJECTS)
