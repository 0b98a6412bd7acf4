"""Copies of the archive away from this machine: how they are, and one brought back where the archive is lost."""

from __future__ import annotations

import dataclasses
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from infra import config, health, recovery
from infra.catalog import backup
from infra.errors import MaiaError
from infra.plan import Plan, build
from infra.site import Site
from infra.stack import Stack, image_refs, machine
from infra.target import Copy as Asked

Say = Callable[[str], None]
FILES = ("backup.json", "roots.pem", "ssh_config", "known_hosts", "copy", "aws", "ssh")
"""What the part's files are called that a job at a target reads."""


def told(stack: Stack) -> list[str]:
    """What became of each copy, a line each, and the key that SSH hosts must let in."""
    copies = stack.plan.backup.copies
    if not copies or not stack.plan.running:
        return []
    try:
        known = recovery.ask(stack, "copies", say=lambda line: None)
    except MaiaError as error:
        return [f"{copy.name}: {copy.place}: {error}" for copy in copies]
    lines = [f"{copy.name}: {copy.place}, {_state(known['copies'][copy.name])}" for copy in copies]
    if known["ssh"]:
        lines.append(f"by SSH with the key that a host must let in: {known['ssh']} maia-{stack.name}")
    return lines


def _state(known: Mapping[str, Any]) -> str:
    done, error = known.get("copy_succeeded"), known.get("copy_error") or known.get("verify_error")
    when = f"brought over {_ago(time.time() - done)} ago" if done else "not brought over yet"
    return f"{when}: {error}" if error else when


def _ago(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(0, seconds):.0f} seconds"


@dataclass(frozen=True)
class Source:
    """A copy, and what opens it."""

    name: str
    asked: Asked
    key: str = field(repr=False)
    secret: str = field(repr=False)
    """The secret key of S3; empty for SSH."""

    @property
    def plan(self) -> Plan:
        """A plan of defaults, but for this copy."""
        values = {"maia:backup": {"copies": {self.name: self.asked.model_dump(exclude_none=True)}}}
        return build("restore", config.parse("restore", values), machine(), image_refs())


def of_stack(stack: Stack, name: str, secrets: Mapping[str, str]) -> Source:
    """A copy that the stack file names.

    Raises:
        MaiaError: it names none such.
    """
    known = stack.config.backup.copies
    if name not in known:
        raise MaiaError(
            f"no copy {name!r}",
            where="maia:backup.copies",
            mend=f"{config.nearest(name, known)}; of a lost machine, name a file with its entry",
        )
    return Source(name, known[name], secrets[recovery.KEY], secrets.get(backup.secret(name), ""))


def of_file(path: Path, key: str, secret: str) -> Source:
    """A copy as a file names it: its entry below ``maia:backup.copies``, by its name.

    Raises:
        MaiaError: the file holds something else, by key.
    """
    try:
        found = yaml.safe_load(path.read_text())
    except yaml.YAMLError:
        raise MaiaError("not YAML", where=str(path), mend="correct the file") from None
    if not isinstance(found, dict) or len(found) != 1:
        raise MaiaError("expected one copy by its name", where=str(path), mend="as below maia:backup.copies")
    copies = config.parse("restore", {"maia:backup": {"copies": found}}).backup.copies
    ((name, asked),) = copies.items()
    if asked.s3 and not secret:
        raise MaiaError("its secret key is needed too", where=str(path), mend="name a file with it by --secret")
    return Source(name, asked, key, secret)


def fetch(stack: str, site: Site, source: Source, moment: str, say: Say) -> Path:
    """Bring the folder of points into the site folder; a fetch that was cut short goes on.

    Args:
        moment: of the state that is meant; empty for the newest.

    Raises:
        MaiaError: it cannot be had; nothing else was changed.
    """
    folder, plan = site.fetched(stack), source.plan
    # It meets the target by itself: where nothing is left, there is no exit proxy either.
    part = dataclasses.replace(plan.container(recovery.PART), env={})
    uid, gid = (int(each) for each in part.user.split(":"))
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    shutil.chown(folder, uid, gid)
    secrets = {recovery.KEY: source.key, backup.secret(source.name): source.secret}
    with recovery.rendered(site, stack, plan, part, secrets, FILES) as files:
        recovery.run(
            f"maia-{stack}-fetch",
            part,
            ("fetch", source.name, *(["--as-of", moment] if moment else [])),
            say,
            user=part.user,
            network_mode="bridge",
            tmpfs={"/tmp": "mode=1777", "/data": f"mode=0700,uid={uid},gid={gid}"},
            labels={"maia.stack": stack, "maia.part": recovery.PART},
            volumes=[f"{folder}:/archive", f"{files}:/run/secrets:ro", f"{files}:/etc/maia:ro"],
        )
    return folder


def settle(stack: Stack, fetched: Path, folder: str) -> Path:
    """Make what was fetched the archive of a stack that is new here, so that its points go on from there.

    Args:
        folder: ``maia:backup.folder`` of the point's settings.

    Raises:
        MaiaError: that folder is not there; nothing was changed.
    """
    if folder and not Path(folder).is_dir():
        raise MaiaError(f"{folder} is not there", where="maia:backup.folder", mend="mount it; nothing was changed")
    target = stack.site.archive(stack.name, folder)
    if target.exists() and any(target.iterdir()):
        return fetched
    if target.exists():
        target.rmdir()
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    owner = fetched.stat()
    shutil.move(fetched, target)
    for path in (target, *target.rglob("*")):  # to another disk they were written anew
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
    return target


def forget(stack: str, site: Site) -> None:
    """What was fetched for a restore that is done, or was cut short by a kill."""
    if left := health.find(health.client(), f"maia-{stack}-fetch"):
        left.remove(force=True)
    shutil.rmtree(site.fetched(stack), ignore_errors=True)
