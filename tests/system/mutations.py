"""Changes to a running appliance, each undone when its block ends."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import psycopg
import redis
from docker.models.containers import Container

from infra.site import Site
from infra.stack import Stack

PATIENCE = 60.0
"""Seconds within which a container that was changed or put back must be healthy."""


def until(holds: Callable[[], bool], what: str, patience: float = PATIENCE) -> None:
    """Wait for a condition, and say which one did not come about."""
    deadline = time.monotonic() + patience
    while not holds():
        assert time.monotonic() < deadline, f"not within {patience:g} s: {what}"
        time.sleep(0.2)


@dataclass
class World:
    """A running stack and the means to change it behind Pulumi's back."""

    stack: Stack
    secrets: Mapping[str, str] = field(repr=False)

    def __post_init__(self) -> None:
        self.docker = docker.from_env()

    @property
    def site(self) -> Site:
        return self.stack.site

    def name(self, part: str) -> str:
        return f"maia-{self.stack.name}-{part}"

    def container(self, part: str) -> Container:
        return self.docker.containers.get(self.name(part))

    def file(self, part: str, path: str) -> Path:
        """``config/…`` or ``secrets/…`` of a part, on this machine."""
        return self.site.files(self.stack.name) / part / path

    def sql(self, *statements: str, database: str = "postgres") -> None:
        socket = str(self.site.sockets(self.stack.name) / "postgres")
        with psycopg.connect(host=socket, user="postgres", dbname=database, autocommit=True) as link:
            for statement in statements:
                link.execute(statement.encode())

    def redis(self, *words: str) -> None:
        with redis.Redis(
            unix_socket_path=str(self.site.sockets(self.stack.name) / "redis" / "redis.sock"),
            username="admin",
            password=self.secrets["redis-admin"],
        ) as link:
            link.execute_command(*words)

    def run(self, part: str, *command: str) -> None:
        """As root in the container."""
        done = self.container(part).exec_run(list(command), user="0:0")
        assert done.exit_code == 0, done.output

    def await_healthy(self, part: str) -> None:
        """By the part's own health command: Docker's first look comes later."""
        command = list(self.stack.plan.container(part).health.command)

        def healthy() -> bool:
            container = self.container(part)
            return container.status == "running" and container.exec_run(command).exit_code == 0

        until(healthy, f"{part} is healthy")


Change = Callable[[World], Any]
"""A context manager over a world."""


def undoing(do: Callable[[World], None], undo: Callable[[World], None]) -> Change:
    @contextmanager
    def change(world: World) -> Iterator[None]:
        try:
            do(world)
            yield
        finally:
            undo(world)

    return change


def sql(do: str, undo: str, database: str = "postgres") -> Change:
    return undoing(lambda world: world.sql(do, database=database), lambda world: world.sql(undo, database=database))


def system(name: str, value: str) -> Change:
    """A setting of Postgres altered by hand."""
    reload = "select pg_reload_conf()"
    return undoing(
        lambda world: world.sql(f"alter system set {name} = '{value}'", reload),
        lambda world: world.sql(f"alter system reset {name}", reload),
    )


def cache(do: tuple[str, ...], undo: tuple[str, ...]) -> Change:
    return undoing(lambda world: world.redis(*do), lambda world: world.redis(*undo))


def mode(path: Callable[[World], Path], bits: int) -> Change:
    @contextmanager
    def change(world: World) -> Iterator[None]:
        target = path(world)
        before = target.stat().st_mode
        target.chmod(bits)
        try:
            yield
        finally:
            target.chmod(before)

    return change


def edited(
    part: str, path: str, edit: Callable[[str], str], signal: str = "", reread: Callable[[World], None] | None = None
) -> Change:
    """A rendered file edited on the machine; the part is told with ``signal`` or by ``reread``."""

    @contextmanager
    def change(world: World) -> Iterator[None]:
        file = world.file(part, path)
        before, stat = file.read_text(), file.stat()

        def put(text: str) -> None:
            file.write_text(text)
            os.chmod(file, stat.st_mode)
            if signal:
                since = int(time.time())
                world.container(part).kill(signal)
                world.await_healthy(part)
                assert world.container(part).status == "running", world.container(part).logs(since=since)
            if reread:
                reread(world)

        after = edit(before)
        assert after != before, f"the edit of {part}'s {path} changes nothing"
        try:
            put(after)
            yield
        finally:
            put(before)

    return change


def replacing(old: str, new: str, count: int = -1) -> Callable[[str], str]:
    return lambda text: text.replace(old, new, count)


def updated(part: str, **changes: Any) -> Change:
    """``docker update``."""

    @contextmanager
    def change(world: World) -> Iterator[None]:
        container = world.container(part)
        host = container.attrs["HostConfig"]
        before = {
            "Memory": host["Memory"],
            "MemorySwap": host["MemorySwap"],
            "NanoCpus": host["NanoCpus"],
            "PidsLimit": host["PidsLimit"],
            "RestartPolicy": host["RestartPolicy"],
        }
        url = f"/containers/{container.id}/update"
        try:
            _post(world, url, changes)
            yield
        finally:
            _post(world, url, {key: before[key] for key in changes})

    return change


def _post(world: World, path: str, body: Mapping[str, Any], **parameters: str) -> Any:
    """The engine's own API: what an inspection says goes back as it is."""
    api = world.docker.api
    answer = api.post(f"{api.base_url}/v{api.api_version}{path}", json=body, params=parameters)
    assert answer.ok, answer.text
    return answer.json() if answer.content else None


def recreated(part: str, alter: Callable[[World, dict[str, Any]], None]) -> Change:
    """The container stopped and set aside, and one like it, altered, in its place: most settings are fixed for life."""

    @contextmanager
    def change(world: World) -> Iterator[None]:
        original = world.container(part)
        parked = f"parked-{original.name}"
        body = _creation(original)
        alter(world, body)
        networks = body.pop("Networks")
        original.stop()
        original.rename(parked)
        twin = ""
        try:
            twin = _post(world, "/containers/create", body, name=world.name(part))["Id"]
            world.docker.networks.get("bridge").disconnect(twin, force=True)
            for name, endpoint in networks.items():
                _post(world, f"/networks/{name}/connect", {"Container": twin, "EndpointConfig": endpoint})
            world.docker.containers.get(twin).start()
            world.await_healthy(part)
            yield
        finally:
            if twin:
                world.docker.containers.get(twin).remove(force=True)
            original.rename(world.name(part))
            original.start()
            world.await_healthy(part)

    return change


def _creation(container: Container) -> dict[str, Any]:
    """What would make the same container again."""
    attributes = copy.deepcopy(container.attrs)
    networks = {
        name: {
            "IPAMConfig": each["IPAMConfig"],
            "Aliases": [a for a in each["Aliases"] or () if a not in str(container.id)],
        }
        for name, each in attributes["NetworkSettings"]["Networks"].items()
    }
    return {**attributes["Config"], "HostConfig": attributes["HostConfig"], "Networks": networks}


def host(part: str, **changes: Any) -> Change:
    """Recreated with another host configuration."""
    return recreated(part, lambda _world, body: body["HostConfig"].update(changes))


def config(part: str, **changes: Any) -> Change:
    """Recreated with another configuration."""
    return recreated(part, lambda _world, body: body.update(changes))
