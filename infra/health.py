"""How the containers of a plan are doing. Reads only."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import docker
from docker.errors import APIError, DockerException, NotFound
from docker.models.containers import Container as Running

from infra import machine, words
from infra.errors import MaiaError
from infra.place import HERE, Place
from infra.plan import Container, Plan

INTERVAL = 0.5


@dataclass(frozen=True, kw_only=True)
class PartState:
    """One part as it is now."""

    part: str
    state: str
    """Docker's word, or ``missing``."""
    health: str
    """``healthy``, ``starting``, ``unhealthy``, or empty where nothing runs."""
    version: str
    image: str
    memory: int
    """MiB in use."""
    limit: int
    """MiB it may use."""
    restarts: int
    since: str
    """When it started, RFC 3339."""

    @property
    def well(self) -> bool:
        return self.state == "running" and self.health == "healthy"


def client(at: Place = HERE, timeout: float | None = 60) -> docker.DockerClient:
    """Docker of this machine, or of a server.

    Raises:
        MaiaError: it does not answer.
    """
    try:
        return at.docker(timeout)
    except DockerException as error:
        at.call(machine.size)  # a server that cannot be reached is told as that
        where = f"server {at.name}" if at.name else "docker"
        raise MaiaError(f"Docker does not answer: {_reason(error)}", where=where, mend="maia doctor") from None


def find(docker_client: docker.DockerClient, name: str) -> Running | None:
    try:
        return docker_client.containers.get(name)
    except NotFound:
        return None


def states(plan: Plan, docker_client: docker.DockerClient, *, memory: bool = True) -> list[PartState]:
    """Every container of the plan as it is now."""
    return [_state(container, find(docker_client, container.name), memory) for container in plan.containers]


def _state(container: Container, running: Running | None, memory: bool) -> PartState:
    attributes: dict[str, Any] = running.attrs if running else {}
    state = attributes.get("State", {})
    up = state.get("Status") == "running"
    return PartState(
        part=container.part,
        state=state.get("Status", "missing"),
        health=_health(container, running) if running and up else "",
        version=container.version,
        image=attributes.get("Image", ""),
        memory=_memory(running) if running and up and memory else 0,
        limit=container.memory,
        restarts=attributes.get("RestartCount", 0),
        since=state.get("StartedAt", "") if up else "",
    )


def _health(container: Container, running: Running) -> str:
    """Docker's word, but its own first look comes only after a whole interval: until then we look."""
    word = str(running.attrs["State"].get("Health", {}).get("Status", ""))
    return "healthy" if word == "starting" and _answers(container, running) else word


def _answers(container: Container, running: Running) -> bool:
    try:
        return bool(running.exec_run(list(container.health.command)).exit_code == 0)
    except APIError:  # it stopped this very moment
        return False


def _memory(running: Running) -> int:
    try:
        stats: Any = running.stats(stream=False, one_shot=True)["memory_stats"]  # type: ignore[index]
    except (APIError, KeyError):
        return 0
    pages = stats.get("stats", {})
    cached = pages.get("total_inactive_file", pages.get("inactive_file", 0))
    return int((stats.get("usage", 0) - cached) // 2**20)


def revive(plan: Plan, docker_client: docker.DockerClient, say: Callable[[str], None]) -> None:
    """Start what is there and stopped, and wait for it: looking for drift needs the parts to answer."""
    stopped = []
    for container in plan.containers:
        running = find(docker_client, container.name)
        if running is not None and running.status in ("exited", "created"):
            say(f"starting {container.part}, which was stopped")
            running.start()
            stopped.append(container.part)
    if stopped:
        wait(plan, docker_client, say, only=stopped)


def wait(
    plan: Plan, docker_client: docker.DockerClient, say: Callable[[str], None], *, only: Collection[str] | None = None
) -> None:
    """Return once every container of the plan, or ``only`` those parts', answers as it should.

    Raises:
        MaiaError: one did not within its patience; with its last log lines.
    """
    begun = time.monotonic()
    awaited = [container for container in plan.containers if only is None or container.part in only]
    for container in awaited:
        while (wrong := ill(container, docker_client)) and time.monotonic() - begun < container.health.patience:
            say(f"waiting for {container.part}")
            time.sleep(INTERVAL)
        if wrong:
            raise MaiaError(wrong, where=container.part, mend=f"maia logs {container.part}")
    say(f"{len(awaited)} healthy")


def ill(container: Container, docker_client: docker.DockerClient) -> str:
    """What is wrong with a part, or nothing."""
    running = find(docker_client, container.name)
    if running is None:
        return "the container is missing"
    state = running.attrs["State"]
    healthy = state.get("Health", {}).get("Status") == "healthy"
    if state["Status"] == "running" and (healthy or _answers(container, running)):
        return ""
    return f"{state['Status']}, but not healthy; its last words: {words.last(running)}"


def _reason(error: Exception) -> str:
    text = str(error)
    if "Permission denied" in text:
        return "permission denied"
    if "No such file" in text or "FileNotFound" in text:
        return "no socket"
    return "connection refused" if "refused" in text else " ".join(text.split())[:120]
