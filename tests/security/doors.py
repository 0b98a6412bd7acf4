"""Ways to a gateway: the appliance's own, and a copy of it behind which everything that arrives is repeated.

The copy is the same image, configuration, certificate and login, alone in a network of its own where every route leads
to a server that answers with what it heard.
"""

from __future__ import annotations

import http.client
import io
import json
import re
import socket
import ssl
import tempfile
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import docker

from tests import clients
from tests.conftest import Appliance

QUERY = "/ops/prometheus/api/v1/query?query=up"
SECONDS = 20
EVIL = "evil.invalid"

Answer = tuple[int, dict[str, str], bytes]
"""Status, headers, body."""


@dataclass(frozen=True)
class Door:
    """A gateway's TLS listener; speaks bytes, so that it can speak nonsense."""

    dial: Callable[[], socket.socket]
    port: int
    """The published one."""
    ca: str
    login: str = field(repr=False)
    """``Authorization`` of the operator."""

    def shake(self, context: ssl.SSLContext, name: str | None = "localhost") -> ssl.SSLSocket:
        link = self.dial()
        try:
            return context.wrap_socket(link, server_hostname=name)
        except BaseException:
            link.close()
            raise

    def say(self, text: bytes) -> list[Answer]:
        """Send ``text`` over TLS and read every answer that comes before the gateway hangs up."""
        context = ssl.create_default_context(cafile=self.ca)
        heard = b""
        with self.shake(context) as link:
            link.settimeout(SECONDS)
            link.sendall(text)
            try:
                while data := link.recv(65536):
                    heard += data
            except (TimeoutError, ConnectionError, ssl.SSLError):
                pass
        return list(answers(heard))

    def get(self, path: str, *headers: str, login: bool = True, method: str = "GET") -> Answer:
        """One request; its own Host unless ``headers`` have one."""
        lines = [f"{method} {path} HTTP/1.1", "Connection: close", *headers]
        if not any(header.lower().startswith("host:") for header in headers):
            lines.append(f"Host: localhost:{self.port}")
        if login:
            lines.append(f"Authorization: {self.login}")
        (only,) = self.say("\r\n".join([*lines, "", ""]).encode())
        return only


class Heard(io.BytesIO):
    """Bytes that were heard already, as the socket that the standard library wants to read from."""

    def makefile(self, _mode: str) -> Heard:
        return self

    def close(self) -> None:
        """One answer's end is the next one's beginning."""


def answers(heard: bytes) -> Iterator[Answer]:
    stream = Heard(heard)
    while stream.tell() < len(heard):
        found = http.client.HTTPResponse(stream)  # type: ignore[arg-type]
        found.begin()
        yield found.status, {name.lower(): value for name, value in found.getheaders()}, found.read()


def login(appliance: Appliance) -> str:
    return "Basic " + b64encode(f"operator:{appliance.secret('operator')}".encode()).decode()


def real(appliance: Appliance) -> Door:
    """The running appliance's."""
    (port,) = (each for each in appliance.stack.plan.container("gateway").published if each.target == 8443)
    return Door(
        lambda: socket.create_connection(("127.0.0.1", port.port), SECONDS), port.port, appliance.ca, login(appliance)
    )


@contextmanager
def copied(appliance: Appliance) -> Iterator[Door]:
    """The copy whose routes lead to a server that answers with what it heard."""
    plan = appliance.stack.plan
    part, files = plan.container("gateway"), appliance.site.files(appliance.name) / "gateway"
    uid, gid = part.user.split(":")
    routes = r"(server )10\.[\d.]+(:\d+ max_fails)"
    text, count = re.subn(routes, r"\g<1>127.0.0.1\2", (files / "config" / "nginx.conf").read_text())
    assert count == len({(route.part, route.route.port) for route in plan.routes})
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        (Path(folder) / "nginx.conf").write_text(text)
        container = docker.from_env().containers.run(
            part.image_id,
            entrypoint=["nginx", "-e", "stderr", "-c", "/etc/maia/nginx.conf"],
            detach=True,
            network="none",
            user=part.user,
            read_only=True,
            cap_drop=["ALL"],
            volumes=[f"{folder}:/etc/maia:ro", f"{files}/secrets:/run/secrets:ro"],
            tmpfs=dict.fromkeys(part.scratch, f"uid={uid},gid={gid},mode=0700"),
        )
        servers: list[ThreadingHTTPServer] = []
        try:
            container.reload()
            pid = int(container.attrs["State"]["Pid"])
            servers = [echo(pid, route.route.port) for route in plan.routes]
            original = next(each.port for each in part.published if each.target == 8443)
            made = Door(
                lambda: clients.connect(pid, "127.0.0.1", 8443, SECONDS), original, appliance.ca, login(appliance)
            )
            await_answer(made, container)
            yield made
        finally:
            container.remove(force=True)
            for server in servers:
                server.shutdown()
                server.server_close()


def await_answer(door: Door, container: Any) -> None:
    limit = time.monotonic() + SECONDS
    while True:
        try:
            assert door.get("/healthz")[0] == 200
            return
        except OSError:
            assert time.monotonic() < limit, container.logs().decode()
            time.sleep(0.1)


def echo(pid: int, port: int) -> ThreadingHTTPServer:
    """A server in the network of process ``pid`` that answers with the request as it heard it."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            told = {"line": self.requestline, "headers": [[n.lower(), v] for n, v in self.headers.items()]}
            body = json.dumps(told | {"body": self.rfile.read(length).decode()}).encode()
            self.send_response(200)
            for name, value in (("X-Powered-By", "echo/1.2.3"), ("Content-Length", str(len(body)))):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_PUT = do_HEAD = do_GET

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = clients.socket_of(pid)
    server.socket.bind(("127.0.0.1", port))
    server.server_activate()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def told(answer: Answer) -> dict[str, list[str]]:
    """The headers that the part behind was sent."""
    status, _, body = answer
    assert status == 200, body
    found: dict[str, list[str]] = {}
    for name, value in json.loads(body)["headers"]:
        found.setdefault(name, []).append(value)
    return found
