"""The same parts under Docker Compose: the yardstick. It starts containers, and makes, renders and verifies nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.images import debian
from infra.images.recipe import load_base
from infra.plan import Container, Plan
from infra.site import cache
from tests.bench.machine import run

PROJECT = "maia-bench-compose"


def program() -> Path:
    """Compose 2: the one on PATH, else out of the Debian package of the release that the images are made of."""
    found = shutil.which("docker-compose")
    if found and run(found, "version", "--short").startswith(("2", "v2")):
        return Path(found)
    kept = cache() / "bench" / "docker-compose"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        _fetch(kept)
    return kept


def _fetch(kept: Path) -> None:
    folder = kept.with_name("apt")
    where = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Component: main"]
    mirror = run(*where).split()[0]
    folder.mkdir(exist_ok=True)
    sources = f"deb {mirror} {load_base().suite} main\n"
    debian.write_config(folder / "apt.conf", folder / "state", sources, lists=folder / "lists")
    environment = os.environ | {"APT_CONFIG": str(folder / "apt.conf")}
    for verb in (["update"], ["download", "docker-compose"]):
        subprocess.run(["apt-get", "-qq", *verb], env=environment, cwd=folder, check=True)
    (package,) = folder.glob("docker-compose_*.deb")
    run("dpkg-deb", "--extract", package, folder / "tree")
    shutil.copy(folder / "tree/usr/libexec/docker/cli-plugins/docker-compose", kept.with_suffix(".new"))
    kept.with_suffix(".new").replace(kept)
    shutil.rmtree(folder)


@dataclass(frozen=True)
class Compose:
    """A project equivalent to a plan, over the same images, rendered files and volumes."""

    program: Path
    file: Path

    def up(self, *arguments: str) -> str:
        return self("up", "--detach", *arguments)

    def down(self) -> str:
        return self("down")

    def __call__(self, *arguments: str) -> str:
        return run(self.program, "--project-name", PROJECT, "--file", self.file, *arguments)

    @property
    def version(self) -> str:
        return run(self.program, "version", "--short").strip()


def write(plan: Plan, files: Path, folder: Path, interval: str) -> Compose:
    """Generate the project.

    Args:
        files: a copy of the stack's rendered files, which go when the stack does.
        folder: for the project's file and the parts' sockets.
        interval: between two health checks.
    """
    services = {part.part: _service(plan, part, files, folder, interval) for part in plan.containers}
    project = {
        "name": PROJECT,
        "services": services,
        "networks": {
            str(network.zone): {
                "name": network.name,
                "internal": network.internal,
                "driver_opts": {
                    "com.docker.network.bridge.enable_ip_masquerade": str(network.masquerade).lower(),
                    "com.docker.network.bridge.inhibit_ipv4": str(not network.machine_address).lower(),
                },
                "ipam": {"config": [{"subnet": network.subnet}]},
            }
            for network in plan.networks
        },
        "volumes": {
            mount.volume: {"external": True, "name": mount.volume} for part in plan.containers for mount in part.mounts
        },
    }
    file = folder / f"compose-{interval}.json"
    file.write_text(json.dumps(project, indent=2))
    return Compose(program(), file)


def _service(plan: Plan, part: Container, files: Path, folder: Path, interval: str) -> dict[str, Any]:
    uid, gid = part.user.split(":")
    volumes = [f"{files}/{part.part}/config:/etc/maia:ro"]
    if (files / part.part / "secrets").exists():
        volumes.append(f"{files}/{part.part}/secrets:/run/secrets:ro")
    if part.socket:
        socket = folder / "run" / part.part
        socket.mkdir(parents=True, exist_ok=True)
        os.chown(socket, int(uid), int(gid))
        volumes.append(f"{socket}:{part.socket}")
    volumes += [f"{mount.volume}:{mount.path}" for mount in part.mounts]
    service: dict[str, Any] = {
        "image": part.image_id,
        "hostname": part.part,
        "user": "0:0" if part.root else part.user,
        "environment": part.env,
        "read_only": True,
        "cap_drop": ["ALL"],
        "cap_add": list(part.capabilities),
        "security_opt": ["no-new-privileges:true"],
        "mem_limit": f"{part.memory}m",
        "memswap_limit": f"{part.memory}m",
        "cpus": part.cpus,
        "pids_limit": part.pids,
        "shm_size": f"{part.shared_memory or 64}m",
        "tmpfs": [f"{path}:rw,nosuid,nodev,noexec,size=64m,mode=0700,uid={uid},gid={gid}" for path in part.scratch],
        "volumes": volumes,
        "networks": {zone: {"ipv4_address": address} for zone, address in part.addresses.items()},
        "dns": list(part.dns),
        "ports": [f"{port.address}:{port.port}:{port.target}" for port in part.published],
        "restart": "unless-stopped",
        "stop_grace_period": f"{part.stop_seconds}s",
        "logging": {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}},
        "healthcheck": {
            # Compose takes a dollar for one of its own variables.
            "test": ["CMD", *(word.replace("$", "$$") for word in part.health.command)],
            "interval": interval,
            "timeout": "5s",
            "retries": 3,
            "start_period": f"{part.health.patience}s",
        },
        "depends_on": {other: {"condition": "service_healthy"} for other in part.after},
    }
    if part.command:
        service["entrypoint"] = [word.replace("$", "$$") for word in part.command]
    return service
