"""A new version of an app takes the place of the old one only once it was healthy beside it, and nobody notices."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import docker
import httpx
import pytest
from docker.errors import APIError

from infra.images import build
from infra.images import store as images
from infra.plan.networks import candidate
from tests.conftest import STORES, Appliance, small
from tests.processes import kill_all

PATIENCE = 300
"""Seconds for anything that is waited for."""
SERVER = """\
const { createServer } = require('node:http')
const { BROKEN, VERSION } = process.env
if (BROKEN === 'crash') throw new Error('no such module: flux')
const server = createServer((request, response) => {
  const ill = BROKEN === 'mute' && request.url === '/healthz'
  request.resume().on('end', () => response.writeHead(ill ? 500 : 200).end(VERSION))
})
process.on('SIGTERM', () => server.close())
setTimeout(() => server.listen(3000, () => console.log(`version ${VERSION}`)), 1500)
"""
"""An app that takes a moment to start, and ends what it is doing before it stops."""
PLACE = {"Hostname", "Image", "Healthcheck", "StopTimeout", "Domainname"}
"""Of a container's configuration, what may differ without its being another version."""


@dataclass
class Rollout:
    """An app on a small appliance."""

    appliance: Appliance
    image: str

    def write(self, version: str, **changes: Any) -> None:
        env = {"VERSION": version} | changes.pop("env", {})
        app = {
            "image": self.image,
            "user": "713:713",
            "command": ["node", "-e", SERVER],
            "route": {"path": "/app/"},
            "health": "/healthz",
            "memory": 128,
            "env": env,
        }
        self.appliance.write({"apps": {"app": app | changes}})

    def up(self, version: str, **changes: Any) -> str:
        self.write(version, **changes)
        return self.appliance.maia("up", "--skip-checks").stdout

    @property
    def live(self) -> str:
        return f"maia-{self.appliance.name}-app"

    @property
    def tried(self) -> str:
        return candidate(self.live)

    def id(self) -> str:
        return str(docker.from_env().containers.get(self.live).id)

    def version(self) -> str:
        with self.client() as client:
            return client.get("/app/").text

    def client(self) -> httpx.Client:
        trusted = ssl.create_default_context(cafile=self.appliance.ca)
        return httpx.Client(base_url=self.appliance.url, verify=trusted, trust_env=False, timeout=30)

    def there(self) -> bool:
        return bool(docker.from_env().containers.list(all=True, filters={"name": f"^/?{self.tried}$"}))


@dataclass
class Asked:
    """What clients saw that went on asking."""

    versions: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    slowest: float = 0.0

    def ask(self, client: httpx.Client, method: str) -> None:
        begun = time.monotonic()
        try:
            answer = client.request(method, "/app/", content=b"x" * 100_000 if method == "POST" else None)
        except httpx.HTTPError as error:
            self.failures.append(f"{method} {error!r}")
            return
        self.slowest = max(self.slowest, time.monotonic() - begun)
        if answer.is_success:
            self.versions.append(answer.text)
        else:
            self.failures.append(f"{method} {answer.status_code} {answer.text}")


@contextmanager
def asking(rollout: Rollout) -> Iterator[Asked]:
    """Clients that ask without a pause, reading and writing, until the end of the block."""
    asked, over = Asked(), threading.Event()

    def go_on(method: str) -> None:
        with rollout.client() as client:
            while not over.is_set():
                asked.ask(client, method)

    threads = [threading.Thread(target=go_on, args=(method,)) for method in ("GET", "POST", "POST")]
    for thread in threads:
        thread.start()
    try:
        yield asked
    finally:
        over.set()
        for thread in threads:
            thread.join()


@contextmanager
def watching(rollout: Rollout) -> Iterator[list[dict[str, Any]]]:
    """The candidate as Docker describes it, once, as soon as it runs."""
    seen: list[dict[str, Any]] = []
    over = threading.Event()

    def look() -> None:
        client = docker.from_env()
        while not seen and not over.wait(0.05):
            with suppress(APIError):  # not there yet, or just being made
                found = client.containers.get(rollout.tried)
                if found.status == "running":
                    seen.append(found.attrs)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


@pytest.fixture(scope="module")
def rollout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rollout]:
    """The app at version 1."""
    base = build.build(["node"], print)["node"]
    images.load(docker.from_env(), base)
    with small(tmp_path_factory.mktemp("trial") / "site") as made:
        made.disable(*STORES, "prometheus", "status")
        made.write()
        rollout = Rollout(made, base.id)
        with watching(rollout) as seen:
            rollout.up("1")
        assert not seen, "there is nothing that a trial could protect"
        yield rollout


def test_up_again_tries_nothing_and_changes_nothing(rollout: Rollout) -> None:
    with watching(rollout) as seen:
        assert "changes: none" in rollout.up("1")
    assert not seen
    assert "nothing to change" in rollout.appliance.maia("preview").stdout


def test_a_version_that_fails_leaves_the_old_one_serving_without_a_failed_request(rollout: Rollout) -> None:
    rollout.up("1")
    before = rollout.id()
    rollout.write("2", env={"BROKEN": "crash"})
    preview = rollout.appliance.maia("preview").stdout
    assert [line.split()[:3] for line in preview.splitlines() if "Trial" in line] == [["update", "Trial", "app-trial"]]
    with asking(rollout) as asked:
        failed = rollout.appliance.maia("up", "--skip-checks", check=False)
    told = failed.stderr.strip().splitlines()[-1]
    assert failed.returncode == 1
    assert "maia:apps.app: the new version was tried and failed, the old one still runs: stopped with exit code" in told
    assert "Error: no such module: flux" in told, "its last words hold the cause"
    assert told.endswith("where two must never run at once)"), "with the mend"
    assert not asked.failures
    assert set(asked.versions) == {"1"}
    assert rollout.id() == before
    assert not rollout.there()
    rollout.write("1")
    assert "nothing to change" in rollout.appliance.maia("preview").stdout, "what failed is in no state"


def test_a_version_that_is_well_takes_over_without_a_failed_request(rollout: Rollout) -> None:
    rollout.up("1")
    before = rollout.id()
    with watching(rollout) as seen, asking(rollout) as asked:
        rollout.up("2")
    print(f"{len(asked.versions)} requests, the slowest took {asked.slowest:.1f} s")
    assert not asked.failures
    assert set(asked.versions) == {"1", "2"}
    assert rollout.version() == "2"
    assert rollout.id() != before
    assert not rollout.there()
    live = docker.from_env().containers.get(rollout.live).attrs
    assert shape(seen[0]) == shape(live), "what was tried is what runs"
    assert not [e["Aliases"] for e in seen[0]["NetworkSettings"]["Networks"].values() if "app" in (e["Aliases"] or ())]


def shape(container: dict[str, Any]) -> dict[str, Any]:
    """All that makes a version, without its name and place."""
    config = {key: value for key, value in container["Config"].items() if key not in PLACE}
    place = {"RestartPolicy", "NetworkMode", "PortBindings", "ConsoleSize"}
    host = {key: value for key, value in container["HostConfig"].items() if value and key not in place}
    mounts = sorted((each["Source"], each["Destination"], each["RW"]) for each in container["Mounts"])
    host.pop("Mounts")
    return {"image": container["Image"], "config": config, "host": host, "mounts": mounts}


def test_a_changed_limit_tries_nothing(rollout: Rollout) -> None:
    rollout.up("1")
    before = rollout.id()
    with watching(rollout) as seen:
        rollout.up("1", memory=160)
    assert not seen
    assert rollout.id() == before
    rollout.up("1")


def test_a_trial_that_was_killed_is_swept_by_the_next_run(rollout: Rollout) -> None:
    rollout.up("1")
    before = rollout.id()
    rollout.write("2", env={"BROKEN": "mute"})
    process = rollout.appliance.start("up", "--skip-checks")
    wait(rollout.there)
    kill_all(process)
    assert rollout.there()
    rollout.up("1")
    assert not rollout.there()
    assert rollout.id() == before
    assert "nothing to change" in rollout.appliance.maia("preview").stdout


@pytest.mark.long  # as long as an app may take to be healthy
def test_a_version_that_never_gets_healthy_is_given_up(rollout: Rollout) -> None:
    rollout.up("1")
    rollout.write("2", env={"BROKEN": "mute"})
    with asking(rollout) as asked:
        failed = rollout.appliance.maia("up", "--skip-checks", check=False)
    assert "not healthy after 60 s; its last words: version 2" in failed.stderr
    assert not asked.failures
    assert rollout.version() == "1"


def test_an_app_that_must_not_run_twice_is_replaced_without_a_trial(rollout: Rollout) -> None:
    rollout.up("1", trial=False)
    with watching(rollout) as seen:
        rollout.up("2", trial=False)
    assert not seen
    assert rollout.version() == "2"


def test_a_new_scratch_folder_is_there_at_once(rollout: Rollout) -> None:
    rollout.up("2", trial=False)
    before = rollout.id()
    rollout.up("2", trial=False, writable=["/scratch"])
    assert rollout.id() != before
    assert "/scratch" in docker.from_env().containers.get(rollout.live).attrs["HostConfig"]["Tmpfs"]


def wait(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < limit, f"not within {PATIENCE} s"
        time.sleep(0.2)
