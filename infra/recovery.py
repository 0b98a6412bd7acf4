"""Recovery points, from the machine's side: jobs of the backup part, and stacks made again from a point."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
from docker.models.containers import Container as Running

from infra import atomic, config, health
from infra import machine as machines
from infra.catalog.backup import SERVICE
from infra.config import parse
from infra.errors import MaiaError
from infra.place import HERE, Place
from infra.plan import Container, Plan, build
from infra.render import render
from infra.site import Site
from infra.stack import Stack, image_refs, machine

Say = Callable[[str], None]

PART = SERVICE.name
KEY = "recovery"
"""The secret that opens an archive."""
JOB = ("python3", "-m", "app.backup")
CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID")
"""What putting files back for several users takes; the container lives for this one job and has no network."""


def ask(stack: Stack, *words: str, say: Say) -> Any:
    """Have the running backup part do a job.

    Returns:
        Its result, as JSON.

    Raises:
        MaiaError: the part does not run, or the job failed.
    """
    api = health.client(stack.place, None).api  # a job says nothing while it compares
    job = api.exec_create(running(stack).id, [*JOB, *words])
    output = api.exec_start(job["Id"], stream=True, demux=True)
    return _listen((chunk[0] or b"" for chunk in output), say, lambda: f"maia logs {PART} --stack {stack.name}")


def running(stack: Stack) -> Running:
    """The running backup part.

    Raises:
        MaiaError: it does not run.
    """
    if not stack.plan.has(PART):
        raise MaiaError("disabled", where=f"maia:parts.{PART}", mend="enable it and run maia up")
    name = stack.plan.container(PART).name
    found = health.find(health.client(stack.place), name)
    if found is None or found.status != "running":
        raise MaiaError("does not run", where=name, mend=f"maia up --stack {stack.name}")
    return found


def _listen(chunks: Iterator[bytes], say: Say, mend: Callable[[], str]) -> Any:
    """Pass on what a job says, and return what it found."""
    for line in _lines(chunks):
        if "say" in line:
            say(line["say"])
        elif "error" in line:
            raise MaiaError(line["error"], where=PART, mend=mend())
        else:
            return line["result"]
    raise MaiaError("the job ended without a word", where=PART, mend=mend())


def _lines(chunks: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            if line.startswith(b"{"):
                yield json.loads(line)


@dataclass(frozen=True)
class Archive:
    """A folder of recovery points, and the key that opens it."""

    folder: Path
    key: str
    at: Place = HERE
    """Where the folder lies, and so where jobs with it are done."""

    @classmethod
    def of(cls, stack: Stack, secrets: Mapping[str, str]) -> Archive:
        """The stack's own."""
        return cls(folder(stack), secrets[KEY], stack.place)

    def check(self, user: str) -> None:
        """Refuse what cannot be one.

        Raises:
            MaiaError: naming what is missing.
        """
        if self.at.call(atomic.owner, str(self.folder / "restic" / "config")) is None:
            raise MaiaError("holds no recovery points", where=str(self.folder), mend="name the folder with --archive")
        uid, gid = user.split(":")
        owner = self.at.call(atomic.owner, str(self.folder))
        if owner is None or owner[0] != int(uid):
            raise MaiaError(
                "belongs to another user than the one who reads it",
                where=str(self.folder),
                mend=f"chown -R {uid}:{gid} {self.folder}",
            )


def folder(stack: Stack) -> Path:
    """Where the stack's points are."""
    return stack.home.archive(stack.name, stack.config.backup.folder or "")


def job_name(stack: str) -> str:
    """The container of a job."""
    return f"maia-{stack}-restore"


def job(
    stack: str, site: Site, archive: Archive, *words: str, volumes: Mapping[str, str] | None = None, say: Say
) -> Any:
    """Do a job in a container of its own, which sees the archive and ``volumes`` (name to path) and nothing else.

    Raises:
        MaiaError: the job failed.
    """
    plan, at = _plan(), archive.at
    part = plan.container(PART)
    archive.check(part.user)
    with rendered(site, stack, plan, part, {KEY: archive.key}, ("pgbackrest.conf", "restic"), at) as secrets:
        return run(
            job_name(stack),
            part,
            words,
            say,
            at=at,
            user="0:0",
            network_mode="none",
            cap_add=list(CAPABILITIES),
            shm_size="256m",
            tmpfs={"/tmp": "mode=1777", "/data": "mode=0700"},
            labels={"maia.stack": stack, "maia.part": PART},
            volumes=[
                f"{archive.folder}:/archive:ro",
                f"{secrets}:/run/secrets:ro",
                *(f"{volume}:{path}" for volume, path in (volumes or {}).items()),
            ],
        )


def run(name: str, part: Container, words: Sequence[str], say: Say, *, at: Place = HERE, **options: Any) -> Any:
    """Do a job in a container that is made for it and goes with it."""
    client = health.client(at, None)
    if left := health.find(client, name):
        left.remove(force=True)
    container = client.containers.create(
        part.image_id,
        [*JOB, *words],
        name=name,
        read_only=True,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges:true"],
        pids_limit=part.pids,
        **options,
    )
    try:
        return attend(container, say)
    finally:
        container.remove(force=True)


def attend(container: Running, say: Say) -> Any:
    output = container.attach(stream=True, logs=True, demux=True)
    container.start()
    last = b""

    def chunks() -> Iterator[bytes]:
        nonlocal last
        for out, err in output:
            last = err or last
            yield out or b""

    def mend() -> str:
        told = last.decode(errors="replace").strip().splitlines()
        return f"it said: {told[-1]}" if told else "correct what it names, and run it again; nothing else was changed"

    return _listen(chunks(), say, mend)


def _plan() -> Plan:
    """A plan of defaults: what the job's configuration is rendered with."""
    return build("restore", parse("restore", {}), machine(), image_refs())


@contextmanager
def rendered(
    site: Site,
    stack: str,
    plan: Plan,
    part: Container,
    secrets: Mapping[str, str],
    names: Collection[str],
    at: Place = HERE,
) -> Iterator[Path]:
    """Files of the part for a job, readable for its user alone, for as long as it runs."""
    folder = at.home(site, stack).restoring(stack) / "secrets"
    uid, gid = (int(each) for each in part.user.split(":"))
    paths = {Path(file.path).name: file for file in part.files}
    texts = {name: render(file, plan, part, secrets) for name, file in paths.items() if name in names}
    at.call(atomic.fill, str(folder), texts, uid=uid, gid=gid, private=True)
    try:
        yield folder
    finally:
        at.call(atomic.clear, str(folder.parent))


@dataclass(frozen=True)
class Contents:
    """All that makes a stack again."""

    manifest: Mapping[str, Any]
    settings: dict[str, Any]
    secrets: Mapping[str, str]

    @property
    def size(self) -> int:
        """Bytes its volumes take."""
        objects = self.manifest["objects"]
        return int(self.manifest["postgres"]["size"]) + (int(objects["bytes"]) if objects else 0)


def look(stack: str, site: Site, archive: Archive, point: str, say: Say) -> Contents:
    """Read a point; nothing is changed."""
    found = job(stack, site, archive, "open", point, say=say)
    return Contents(found["manifest"], found["settings"], found["secrets"])


def fill(stack: Stack, archive: Archive, point: str, moment: str, say: Say) -> dict[str, Any]:
    """Put a point into the stack's volumes, which no container may use now.

    From before the first byte until the last one a mark stands in the site folder, on which ``up`` refuses to start.
    """
    plan, client = stack.plan, health.client(stack.place)
    volumes, words = {}, ["restore", point, *(["--time", moment] if moment else [])]
    for part, path in (("postgres", "/var/lib/postgresql"), ("redis", "/redis"), ("minio", "/objects")):
        if plan.has(part):
            mount = next(mount for mount in plan.container(part).mounts if mount.part == part)
            volumes[mount.volume] = path
            if part != "postgres":
                words += [f"--{ {'minio': 'objects'}.get(part, part) }", plan.container(part).user]
    there = {each.name for each in client.volumes.list()}
    for volume in {*volumes, *(mount.volume for mount in plan.container("postgres").mounts)} - there:
        client.volumes.create(volume, labels={"maia.stack": stack.name})
    mark = stack.site.unfinished(stack.name)
    mark.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    mark.write_text(point + "\n")
    found: dict[str, Any] = job(stack.name, stack.site, archive, *words, volumes=volumes, say=say)
    mark.unlink()
    return found


def refuse_unfinished(stack: Stack) -> None:
    """Keep off volumes that a killed restore left half full.

    Raises:
        MaiaError: they are.
    """
    mark = stack.site.unfinished(stack.name)
    if mark.exists():
        point = mark.read_text().strip()
        raise MaiaError(
            f"the restore of {point} was cut short, and its volumes hold half of it",
            where=f"stack {stack.name}",
            mend=f"maia restore {point} --stack {stack.name}",
        )


def refuse_unwritable(stack: Stack) -> None:
    """Refuse a place that no point can be written to.

    Raises:
        MaiaError: it is gone, or mounted for reading only.
    """
    archive = folder(stack)
    if not stack.place.call(machines.writable, str(archive)):
        raise MaiaError("no point can be written there", where=str(archive), mend="mount it for writing")


def where(stack: Stack) -> str:
    """Where the points are, for people, and what is wrong with the place."""
    policy = stack.plan.backup
    place = folder(stack)
    when = f"daily at {policy.at} UTC" if policy.at else "only when asked for"
    docker_root = health.client(stack.place).info()["DockerRootDir"]
    same = stack.place.call(machines.same_disk, str(place), docker_root)
    if stack.place.name:
        when = f"{when}, on {stack.place.name}"
    if same and policy.copies:
        return f"{when}, in {place}, on the same disk, and away as {', '.join(copy.name for copy in policy.copies)}"
    return f"{when}, in {place}" + (", ON THE SAME DISK (name another in maia:backup.folder)" if same else "")


def beside(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings for a stack next to the one they come from.

    It has ports and networks of its own, no way out, no schedule, no servers, no certificate from outside, and sends no
    mail: what waited to be sent when the point was made is the other one's to send.
    """
    taken = _subnets()
    free = next(
        subnet
        for subnet in (f"10.{second}.0.0/20" for second in range(70, 250))
        if not any(each.startswith(subnet.rsplit(".", 2)[0] + ".") for each in taken)
    )
    gateway = dict(settings.get("gateway") or {}) | {"https": _free_port(), "http": None, "acme": None}
    backup = {"at": None, "drill": None}
    kept = {key: value for key, value in settings.items() if key not in ("egress", "hosts", "on")}
    if accounts := kept.get("auth"):
        kept["auth"] = {key: value for key, value in accounts.items() if key != "smtp"}
    return kept | {"subnet": free, "gateway": gateway, "backup": backup}


def here(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a stack that comes back on this machine: one that was on a server leaves its servers behind."""
    if not settings.get("on"):
        return dict(settings)
    gateway = {key: value for key, value in (settings.get("gateway") or {}).items() if key != "address"}
    return {key: value for key, value in settings.items() if key not in ("hosts", "on")} | {"gateway": gateway}


def _subnets() -> set[str]:
    """Those that Docker's networks have."""
    networks = docker.from_env().networks.list()
    return {pool["Subnet"] for network in networks for pool in network.attrs["IPAM"]["Config"] or ()}


def _free_port() -> int:
    for port in range(config.Gateway().https + 1, 65535):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port
    raise MaiaError("no port is free", where="maia:gateway.https", mend="stop something")
