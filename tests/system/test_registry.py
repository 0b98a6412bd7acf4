"""Images from a registry: a real one, on loopback, where Docker speaks plain HTTP."""

from __future__ import annotations

import base64
import io
import json
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import bcrypt
import docker
import httpx
import pytest
import yaml

from infra import credentials
from infra.images import build
from infra.images import store as images
from tests.conftest import STORES, Appliance, small

PATIENCE = 30
NAME = "maia-test/hello"
SERVER = "require('node:http').createServer((_, response) => response.end('{}')).listen(3000)"


@dataclass(frozen=True)
class Registry:
    at: str
    """Host and port."""
    login: str
    """What a request must carry to be answered."""
    hello: str
    """The digest of an image that it holds."""
    other: str
    """The digest of one that nobody ever pulled."""

    def reference(self, digest: str, at: str = "") -> str:
        return f"{at or self.at}/{NAME}@{digest}"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """Debian's `docker-registry`, unpacked and not installed, with two images that Docker itself has forgotten.

    It answers whoever logged in; Docker's client has, as `docker login` would have written it down.
    """
    folder = tmp_path_factory.mktemp("registry")
    folder.chmod(0o755)
    subprocess.run(["apt-get", "download", "docker-registry"], cwd=folder, check=True, timeout=120)
    (package,) = folder.glob("*.deb")
    subprocess.run(["dpkg", "-x", package, folder / "root"], check=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        at = f"127.0.0.1:{free.getsockname()[1]}"
    password = credentials.generate()
    login = base64.b64encode(f"maia:{password}".encode()).decode()
    (folder / "users").write_text(f"maia:{bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()}\n")
    (folder / "config.json").write_text(json.dumps({"auths": {at: {"auth": login}}}))
    settings = folder / "config.yml"
    settings.write_text(
        yaml.safe_dump(
            {
                "version": 0.1,
                "log": {"level": "error"},
                "http": {"addr": at},
                "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
                "auth": {"htpasswd": {"realm": "maia", "path": str(folder / "users")}},
            }
        )
    )
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([folder / "root/usr/bin/docker-registry", "serve", settings], stdout=log, stderr=log)
    try:
        answers(f"http://{at}/v2/")
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("DOCKER_CONFIG", str(folder))
            yield Registry(at, f"Basic {login}", push(at, "hello"), push(at, "other"))
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)


def answers(url: str) -> None:
    limit = time.monotonic() + PATIENCE
    while True:
        with suppress(httpx.TransportError):
            if httpx.get(url, trust_env=False).status_code == 401:
                return
        assert time.monotonic() < limit, f"not within {PATIENCE} s"
        time.sleep(0.1)


def push(at: str, text: str) -> str:
    """Put an image there, and nowhere else, that says ``text``; its digest."""
    client = docker.from_env()
    base = build.build(["node"], print)["node"]
    images.load(client, base)
    command = json.dumps(["node", "-e", SERVER.format(text)])
    dockerfile = io.BytesIO(f"FROM {base.tag}\nCMD {command}\n".encode())
    image, _ = client.images.build(fileobj=dockerfile, tag=f"{at}/{NAME}:{text}", rm=True)
    said = list(client.api.push(f"{at}/{NAME}", tag=text, stream=True, decode=True))
    digest = next(event["aux"]["Digest"] for event in said if "aux" in event)
    client.images.remove(str(image.id), force=True)
    return str(digest)


@pytest.fixture(scope="module")
def third(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """A gateway, for the app behind it."""
    with small(tmp_path_factory.mktemp("registry") / "site") as made:
        made.disable(*STORES, "prometheus", "status")
        yield made


@pytest.fixture(scope="module")
def hello(third: Appliance, registry: Registry) -> Iterator[Appliance]:
    """The appliance with the app from the registry."""
    write(third, registry.reference(registry.hello))
    said = third.maia("up", "--skip-checks")
    assert f"pulling {registry.reference(registry.hello)}" in said.stderr
    yield third
    third.maia("destroy", "--yes", third.name)
    docker.from_env().images.remove(registry.reference(registry.hello))


def write(appliance: Appliance, image: str) -> None:
    app: dict[str, Any] = {"image": image, "user": "713:713", "route": {"path": "/hello/"}, "memory": 128}
    appliance.write({"apps": {"hello": app}})


def greeting(appliance: Appliance) -> str:
    trusted = ssl.create_default_context(cafile=appliance.ca)
    return httpx.get(f"{appliance.url}/hello/", verify=trusted, trust_env=False).text


def test_an_app_runs_from_an_image_that_only_the_registry_had(hello: Appliance, registry: Registry) -> None:
    assert greeting(hello) == "hello"
    image = docker.from_env().containers.get(f"maia-{hello.name}-hello").image
    assert image is not None
    assert image.attrs["RepoDigests"] == [registry.reference(registry.hello)]


def test_up_again_asks_no_registry(hello: Appliance, registry: Registry) -> None:
    said = hello.maia("up", "--skip-checks")
    assert "changes: none" in said.stdout
    assert "pulling" not in said.stderr


class Deaf(BaseHTTPRequestHandler):
    """A registry that has every image and falls silent when its layers are asked for."""

    registry: Registry
    over: threading.Event

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        if "/blobs/" in self.path:
            self.over.wait()
            return
        asked = {"Accept": self.headers["Accept"] or "*/*", "Authorization": self.registry.login}
        told = httpx.request(self.command, f"http://{self.registry.at}{self.path}", headers=asked, trust_env=False)
        self.send_response(told.status_code)
        for name in ("content-type", "content-length", "docker-content-digest", "docker-distribution-api-version"):
            if name in told.headers:
                self.send_header(name, told.headers[name])
        self.end_headers()
        self.wfile.write(told.content)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def silent(registry: Registry) -> Iterator[str]:
    over = threading.Event()
    handler = type("Silent", (Deaf,), {"registry": registry, "over": over})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield registry.reference(registry.other, f"127.0.0.1:{server.server_port}")
    finally:
        over.set()
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def closed(registry: Registry) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    yield registry.reference(registry.other, f"127.0.0.1:{port}")


@contextmanager
def mute(registry: Registry) -> Iterator[str]:
    """It accepts, and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield registry.reference(registry.other, f"127.0.0.1:{listener.getsockname()[1]}")


@contextmanager
def without(registry: Registry) -> Iterator[str]:
    """It has no such image."""
    yield registry.reference(f"sha256:{'0' * 64}")


@contextmanager
def stranger(registry: Registry) -> Iterator[str]:
    """Nobody logged in to it."""
    with pytest.MonkeyPatch.context() as environment, tempfile.TemporaryDirectory() as empty:
        environment.setenv("DOCKER_CONFIG", empty)
        yield registry.reference(registry.other)


@pytest.mark.parametrize(
    ("where", "says", "mend"),
    [
        (stranger, "no basic auth credentials", "(docker login 127.0.0.1:"),
        (without, "cannot be had: manifest for", "(check its name and digest)"),
        (closed, "connection refused", "(check the network and the registry)"),
        (mute, "hangs: nothing came for 5 s", "(check the network and the registry, or allow more seconds in "),
        (silent, "hangs: nothing came for 5 s", "(check the network and the registry, or allow more seconds in "),
    ],
)
def test_an_image_that_cannot_be_had_is_told_in_one_line_and_the_app_goes_on(
    hello: Appliance,
    registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
    where: Callable[[Registry], AbstractContextManager[str]],
    says: str,
    mend: str,
) -> None:
    monkeypatch.setenv("MAIA_FETCH_TIMEOUT", "5")
    state = (hello.site.state / ".pulumi/stacks/maia" / f"{hello.name}.json").read_bytes
    before = state()
    with where(registry) as reference:
        write(hello, reference)
        refused = hello.maia("up", check=False)
    write(hello, registry.reference(registry.hello))
    last = refused.stderr.strip().splitlines()[-1]
    assert refused.returncode == 1
    assert last.startswith(f"maia: maia:apps.hello.image: {reference}")
    assert says in last
    assert mend in last
    assert "Traceback" not in refused.stderr
    assert state() == before
    assert greeting(hello) == "hello"
