"""Data of an older major version of Postgres, brought to this release's and back, from the machine's side.

Both servers run in containers without network and without a capability. What they share is the volume of the data, and
a socket in memory that goes with them.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from docker.errors import APIError, ImageNotFound, NotFound

from infra import clusters, health, machine, recovery, words
from infra.catalog.postgres import MAJOR
from infra.errors import MaiaError
from infra.plan import Plan
from infra.releases import Record
from infra.stack import Stack

Say = Callable[[str], None]

PART = "postgres"
HOME = "/var/lib/postgresql"
SOCKET = "/run/postgresql"
SPOOL = "/var/spool/pgbackrest"
PATIENCE = 3600.0
"""Seconds within which the old server answers; after a crash it plays its WAL first."""
STOP = 120
"""Seconds that the old server may take to stop; it has little to write."""
ROOM = 1.5
"""Free bytes that it takes, times those of the old cluster: the new one, and the dump of one database."""
SERVER = {
    "listen_addresses": "",
    "unix_socket_directories": SOCKET,
    "hba_file": "/tmp/pg_hba.conf",
    "default_transaction_read_only": "on",
    # What it writes when it stops is archived, but not yet: where it serves again.
    "archive_mode": "on",
    "archive_command": "false",
    "autovacuum": "off",
    "jit": "off",
    "log_min_error_statement": "panic",
}


def found(stack: Stack) -> str:
    """The major version that the data is of; empty where there is none that we may read."""
    return _clusters(stack).get(clusters.SERVING, "")


def _clusters(stack: Stack) -> dict[str, str]:
    folder = _folder(stack)
    return stack.place.call(clusters.versions, folder) if folder else {}


def _folder(stack: Stack) -> str:
    """Where the volume of the data is on the machine that it runs on; empty where there is none."""
    if not stack.plan.has(PART):
        return ""
    try:
        return str(health.client(stack.place).volumes.get(_volume(stack.plan, HOME)).attrs["Mountpoint"])
    except NotFound:
        return ""


def serves(record: Record) -> str:
    """The major version that the record's release runs."""
    names = record.images[PART].packages if PART in record.images else {}
    return next((found[1] for name in names if (found := re.fullmatch(r"postgresql-(\d+)", name))), "")


def refuse(stack: Stack, runs: Record) -> None:
    """Keep off data that cannot be carried over.

    Raises:
        MaiaError: it is of a later version, or not of the one that the record's release runs, or there is no room for
            it once more; nothing was changed.
    """
    of = found(stack)
    if of in ("", str(MAJOR)):
        return
    what = f"the data is of Postgres {of}, this release has {MAJOR}"
    mend = "docs/upgrade.md says which data is carried over; nothing was changed"
    if int(of) > MAJOR:
        raise MaiaError(what, where=PART, mend=mend)
    if serves(runs) != of:
        raise MaiaError(f"{what}, and release {runs.release} ran {serves(runs) or 'none'}", where=PART, mend=mend)
    at, folder = stack.place, _folder(stack)
    needed, free = int(at.call(clusters.size, folder) * ROOM), at.call(machine.free, folder) * 2**20
    if free < needed:
        told = f"from {of} to {MAJOR} its data takes {needed / 1e9:.1f} GB more, and {free / 1e9:.1f} GB are free"
        raise MaiaError(told, where=PART, mend="make room; nothing was changed")


def behind(stack: Stack) -> bool:
    """Whether there is data that must be carried over."""
    return found(stack) not in ("", str(MAJOR))


def carry(stack: Stack, runs: Record, say: Say) -> dict[str, Any]:
    """Bring the data to this release's version. No container of the stack may use it now.

    The old cluster stays beside the new one. Killed, it is begun anew.

    Returns:
        What came over.

    Raises:
        MaiaError: what did not work; the old cluster is as it was, and serves.
    """
    of = found(stack)
    with _socket(stack) as socket, _old(stack, runs.parts[PART], socket, say):
        made: dict[str, Any] = _job(stack, "carry", of, volumes={socket: SOCKET}, say=say)
    say("exchanging the clusters")
    _job(stack, "serve", str(MAJOR), say=say)
    return made


def left(stack: Stack, version: str) -> bool:
    """Whether a cluster of this version is there, serving or beside the one that does."""
    return version in _clusters(stack).values()


def owes(stack: Stack, record: Record) -> bool:
    """Whether the data must be exchanged for the record's release to run again."""
    of = found(stack)
    return bool(of and (of != serves(record) or stack.place.call(clusters.waits, _folder(stack))))


def back(stack: Stack, record: Record, say: Say) -> None:
    """Have the cluster serve that the record's release left. No container of the stack may use it now."""
    _job(stack, "serve", serves(record), say=say)


def forget(stack: Stack, say: Say) -> list[str]:
    """Remove clusters that only an earlier way back needed.

    Returns:
        Their versions.
    """
    if not any(name.isdigit() for name in _clusters(stack)):
        return []
    gone: list[str] = _job(stack, "forget", say=say)
    return gone


def clear(stack: Stack) -> None:
    """End what a killed run left at work: two servers on one cluster would be its ruin."""
    client = health.client(stack.place)
    if job := health.find(client, _job_name(stack)):
        job.remove(force=True)
    if old := health.find(client, _old_name(stack)):
        old.stop(timeout=STOP)
        old.remove(force=True)
    with suppress(NotFound):
        client.volumes.get(_socket_name(stack)).remove(force=True)


# -- containers -------------------------------------------------------------------------------------------------------


@contextmanager
def _socket(stack: Stack) -> Iterator[str]:
    """A volume in memory for the socket of the old server."""
    client, name = health.client(stack.place), _socket_name(stack)
    uid, gid = stack.plan.container(PART).user.split(":")
    options = {"type": "tmpfs", "device": "tmpfs", "o": f"uid={uid},gid={gid},mode=0700"}
    client.volumes.create(name, driver="local", driver_opts=options, labels={"maia.stack": stack.name})
    try:
        yield name
    finally:
        client.volumes.get(name).remove(force=True)


def _socket_name(stack: Stack) -> str:
    return f"maia-{stack.name}-major-socket"


def _old_name(stack: Stack) -> str:
    return f"maia-{stack.name}-major-old"


def _job_name(stack: Stack) -> str:
    return f"maia-{stack.name}-major-job"


def _common(stack: Stack) -> dict[str, Any]:
    """What both containers are given: their user, and nothing else."""
    part = stack.plan.container(PART)
    return {
        "user": part.user,
        "read_only": True,
        "network_mode": "none",
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "pids_limit": part.pids,
        "shm_size": "256m",
        "tmpfs": {"/tmp": "mode=1777"},
        "labels": {"maia.stack": stack.name, "maia.part": recovery.PART},
    }


def _volume(plan: Plan, path: str) -> str:
    return next(mount.volume for mount in plan.container(PART).mounts if mount.path == path)


@contextmanager
def _old(stack: Stack, image: str, socket: str, say: Say) -> Iterator[None]:
    """The old server, as long as the block lasts.

    Raises:
        MaiaError: its image is gone, or it does not read the data.
    """
    client = health.client(stack.place)
    options = " ".join(f"-c {key}={value}" for key, value in SERVER.items())
    script = f'echo "local all postgres peer" >/tmp/pg_hba.conf; exec postgres -D {HOME}/data {options}'
    try:
        container = client.containers.create(
            image,
            ["-euc", script],
            entrypoint=["sh"],
            name=_old_name(stack),
            stop_signal="SIGINT",  # a fast shutdown, with a checkpoint
            volumes=[f"{_volume(stack.plan, HOME)}:{HOME}", f"{socket}:{SOCKET}"],
            **_common(stack),
        )
    except ImageNotFound:
        mend = f"maia rollback --stack {stack.name} brings the release back that made it; the data is as it was"
        raise MaiaError("the image that the data was served with is not in Docker", where=image, mend=mend) from None
    try:
        container.start()
        say("starting the old server")
        deadline = time.monotonic() + PATIENCE
        while not _answers(container):
            container.reload()
            if container.status != "running" or time.monotonic() > deadline:
                told = words.last(container)
                raise MaiaError(f"the old server does not serve: {told}", where=PART, mend="the data is as it was")
            time.sleep(health.INTERVAL)
        yield
        say("stopping the old server")
        container.stop(timeout=STOP)
    finally:
        container.remove(force=True)


def _answers(container: Any) -> bool:
    try:
        return bool(container.exec_run(["pg_isready", "-q", "-h", SOCKET]).exit_code == 0)
    except APIError:  # it stopped this very moment
        return False


def _job(stack: Stack, *job: str, volumes: Mapping[str, str] | None = None, say: Say) -> Any:
    plan = stack.plan
    client = health.client(stack.place, None)  # a job says nothing while it compares
    shared = {_volume(plan, HOME): HOME, _volume(plan, SPOOL): SPOOL} | dict(volumes or {})
    container = client.containers.create(
        plan.container(recovery.PART).image_id,
        [*recovery.JOB, *job],
        name=_job_name(stack),
        volumes=[f"{volume}:{path}" for volume, path in shared.items()],
        **_common(stack),
    )
    try:
        return recovery.attend(container, say)
    finally:
        container.remove(force=True)
