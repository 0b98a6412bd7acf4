"""Postgres: the truth of the appliance."""

from __future__ import annotations

from infra.catalog.model import File, Health, Limits, Service, Volume, Zone

MAJOR = 17
"""Of Debian's package. Its data is read by this one alone."""

SERVICE = Service(
    name="postgres",
    title="Database: Postgres with vectors, audit and backup tools",
    image="postgres",
    version_of=f"postgresql-{MAJOR}",
    zones=(Zone.DATA,),
    ports=(5432,),
    files=(
        File(path="/etc/maia/postgresql.conf", template="postgres/postgresql.conf.j2"),
        File(path="/etc/maia/pg_hba.conf", template="postgres/pg_hba.conf.j2"),
        File(path="/etc/maia/pg_ident.conf", template="postgres/pg_ident.conf.j2"),
    ),
    certificate=("postgres",),
    reload="SIGHUP",
    volumes=(Volume(name="data", path="/var/lib/postgresql"), Volume(name="wal", path="/var/spool/pgbackrest")),
    socket="/run/postgresql",
    health=Health(
        command=(
            "psql",
            "host=/run/postgresql user=postgres options='-c log_disconnections=off'",
            "-XAtqc",
            "select 1/(not pg_is_in_recovery())::int",
        ),
        patience=120,
    ),
    limits=Limits(memory=512, share=0.25, most=65536, cpus=16, pids=512, shared=True),
    backup=True,
    # A fast shutdown ends with a checkpoint; cutting it short means crash recovery at the next start.
    stop_seconds=60,
)
