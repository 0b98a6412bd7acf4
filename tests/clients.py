"""Clients of a running appliance, as its own parts would be: in its zones, with credentials of their own."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import secrets
import select
import socket
import ssl
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import docker
import httpx
import urllib3
from docker.models.containers import Container
from minio import Minio
from minio.credentials.providers import StaticProvider
from minio.signer import sign_v4_s3
from minio.time import to_amz_date, utcnow
from urllib3.connection import HTTPConnection

from infra.catalog.model import Zone
from infra.components import database, store
from infra.site import Site
from infra.stack import Stack
from infra.unixhttp import SocketPool
from tests.conftest import Appliance

NETWORK = 0x40000000
"""CLONE_NEWNET."""
PATIENCE = 30
"""Seconds for one answer."""


def operator(appliance: Appliance) -> httpx.Client:
    """The gateway, asked with the operator's login."""
    trusted = ssl.create_default_context(cafile=appliance.ca)
    login = httpx.BasicAuth("operator", appliance.secret("operator"))
    return httpx.Client(base_url=appliance.url, auth=login, verify=trusted, trust_env=False, timeout=PATIENCE)


@dataclass(frozen=True)
class Visitor:
    """A container beside the parts of one zone, with their database's client programs and no privilege."""

    stack: Stack
    zone: Zone
    container: Container

    def dial(self, part: str, port: int) -> socket.socket:
        """A connection from the visitor's own network to a part."""
        address = next(iter(self.stack.plan.container(part).addresses[zone] for zone in self._zones(part)))
        return connect(int(self.container.attrs["State"]["Pid"]), address, port)

    def _zones(self, part: str) -> list[str]:
        joined = self.container.attrs["NetworkSettings"]["Networks"]
        return [
            zone for zone in self.stack.plan.container(part).addresses if f"maia-{self.stack.name}-{zone}" in joined
        ]

    @contextmanager
    def forwarded(self, part: str, port: int) -> Iterator[int]:
        """A port on this machine's loopback that leads to the part by way of the visitor."""
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def accept() -> None:
                with suppress(OSError):
                    while True:
                        near, _ = listener.accept()
                        threading.Thread(target=_pass_on, args=(near, self.dial(part, port)), daemon=True).start()

            threading.Thread(target=accept, daemon=True).start()
            try:
                yield listener.getsockname()[1]
            finally:
                listener.shutdown(socket.SHUT_RDWR)

    def objects(self, user: str, password: str) -> Minio:
        """The S3 route under the name and port that parts know it by."""
        return Minio("s3:9000", access_key=user, secret_key=password, secure=False, http_client=_Pool(self))

    def run(self, *command: str) -> str:
        """The output of a command inside; it must succeed."""
        code, output = self.container.exec_run(list(command), environment={"PGPASSFILE": "/run/visitor/pgpass"})
        assert isinstance(output, bytes)
        said = output.decode(errors="replace")
        assert code == 0, f"{command[0]}: {said[-3000:]}"
        return said


class _Pool(urllib3.PoolManager):
    """Every connection begins in the visitor's network and leads to the S3 route."""

    def __init__(self, visitor: Visitor) -> None:
        super().__init__(timeout=PATIENCE, retries=False)

        class Connection(HTTPConnection):
            def _new_conn(self) -> socket.socket:
                return visitor.dial("s3", 9000)

        self._pool = urllib3.HTTPConnectionPool("s3", 9000)
        self._pool.ConnectionCls = Connection

    def connection_from_host(self, *_: Any, **__: Any) -> urllib3.HTTPConnectionPool:
        return self._pool


def connect(pid: int, address: str, port: int, seconds: float = PATIENCE) -> socket.socket:
    """A connection that begins in the network of process ``pid``."""
    link = socket_of(pid)
    try:
        link.settimeout(seconds)
        link.connect((address, port))
    except OSError:
        link.close()
        raise
    return link


def socket_of(pid: int) -> socket.socket:
    """A TCP socket in the network of process ``pid``."""
    made: list[socket.socket] = []

    def make() -> None:
        # Only this thread goes there, and it ends here.
        with open(f"/proc/{pid}/ns/net") as there:
            if ctypes.CDLL(None, use_errno=True).setns(there.fileno(), NETWORK):
                raise OSError(ctypes.get_errno(), "setns")
        made.append(socket.socket())

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    (link,) = made
    return link


@contextmanager
def tls(host: str, port: int, name: str, trusted: ssl.SSLContext) -> Iterator[ssl.SSLSocket]:
    """A connection to ``name`` at an address that it does not resolve to."""
    with (
        socket.create_connection((host, port), timeout=PATIENCE) as plain,
        trusted.wrap_socket(plain, server_hostname=name) as link,
    ):
        yield link


def _pass_on(near: socket.socket, far: socket.socket) -> None:
    """Carry bytes both ways until one side is done."""
    with near, far, suppress(OSError):
        while ready := select.select([near, far], [], [])[0]:
            for one, other in ((near, far), (far, near)):
                if one in ready:
                    if not (data := one.recv(65536)):
                        return
                    other.sendall(data)


@contextmanager
def visitor(stack: Stack, zone: Zone, passwords: str = "") -> Iterator[Visitor]:
    """A container in ``zone`` for as long as it is needed; ``passwords`` are lines of a pgpass file."""
    uid, gid = (int(number) for number in stack.plan.container("postgres").user.split(":"))
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        file = Path(folder) / "pgpass"
        file.touch(0o600)
        file.write_text(passwords)
        os.chown(file, uid, gid)
        container = docker.from_env().containers.run(
            stack.plan.container("postgres").image_id,
            entrypoint=["sleep", "infinity"],
            detach=True,
            network=f"maia-{stack.name}-{zone}",
            dns=["127.0.0.1"],
            user=f"{uid}:{gid}",
            cap_drop=["ALL"],
            security_opt=["no-new-privileges:true"],
            read_only=True,
            init=True,
            volumes=[f"{folder}:/run/visitor:ro", f"{stack.site.files(stack.name)}/postgres/config/ca.crt:/ca.crt:ro"],
        )
        try:
            container.reload()
            yield Visitor(stack, zone, container)
        finally:
            container.remove(force=True)


@contextmanager
def database_login(stack: Stack, name: str) -> Iterator[tuple[str, str]]:
    """A role that owns a database, both called ``name``, and a login for it; all gone afterwards.

    Yields:
        The login and its password.
    """
    socket_ = str(stack.site.sockets(stack.name) / "postgres")
    login, password = f"{name}_{secrets.token_hex(4)}", secrets.token_urlsafe(24)
    role = {"socket": socket_, "role": name, "database": name, "member_of": [], "extensions": ["vector"]}
    access = {"socket": socket_, "role": name, "login": login, "password": password}
    try:
        database.ensure_role(role)
        database.ensure_login(access)
        yield login, password
    finally:
        database.drop_login(access)
        with database.administer(socket_) as link:
            link.execute(f"drop database if exists {name} with (force)".encode())
            link.execute(f"drop role if exists {name}".encode())


@dataclass(frozen=True)
class Bucket:
    """A bucket with one user of its own."""

    name: str
    user: str
    password: str = field(repr=False)


@contextmanager
def bucket(stack: Stack, name: str) -> Iterator[Bucket]:
    """What a part with a bucket gets, made by the same functions; all gone afterwards."""
    props = administration(stack.site, stack.name) | {
        "bucket": name,
        "versioned": True,
        "policy": name,
        "document": json.dumps(store.policy([name])),
        "login": f"{name}-{secrets.token_hex(4)}",
        "password": secrets.token_urlsafe(24),
    }
    providers = (store.BucketProvider(), store.PolicyProvider(), store.LoginProvider())
    try:
        for provider in providers:
            provider.ensure(props)
        yield Bucket(name, props["login"], props["password"])
    finally:
        for provider in reversed(providers):
            provider.remove(props)
        assert unfiltered(stack, "DELETE", f"/{name}", {"x-minio-force-delete": "true"}).status == 204


def administration(site: Site, name: str) -> dict[str, Any]:
    """How the object store's providers reach it."""
    return {
        "socket": str(site.sockets(name) / "s3"),
        "admin": str(site.files(name) / "administrators" / "minio"),
    }


def sign(
    method: str, url: str, headers: Mapping[str, str], user: str, password: str, body: bytes = b""
) -> dict[str, str]:
    """The headers with a signature over all of them."""
    now, digest = utcnow(), hashlib.sha256(body).hexdigest()
    made = sign_v4_s3(
        method=method,
        url=urlsplit(url),
        region="us-east-1",
        headers={**headers, "x-amz-content-sha256": digest, "x-amz-date": to_amz_date(now)},
        credentials=StaticProvider(user, password).retrieve(),
        content_sha256=digest,
        date=now,
    )
    return {name: str(value) for name, value in made.items()}


def unfiltered(
    stack: Stack,
    method: str,
    target: str,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    *,
    wait: bool = True,
) -> urllib3.BaseHTTPResponse:
    """A request of MinIO's root on the administrative socket, where nothing is taken out.

    Args:
        wait: for the whole answer; without, its reader closes it.
    """
    props = administration(stack.site, stack.name)
    found, url = json.loads(Path(props["admin"]).read_text()), f"http://localhost{target}"
    signed = sign(method, url, {"Host": "localhost", **(headers or {})}, found["user"], found["password"], body)
    pool = SocketPool(f"{props['socket']}/admin.sock", store.TIMEOUT)
    return pool.urlopen(method, url, body=body, headers=signed, preload_content=wait, retries=False)
