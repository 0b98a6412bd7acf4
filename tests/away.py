"""Places away from an appliance that are really there: an S3 service with a CA of its own, and an SSH host.

Both are met on the address of Docker's own bridge, which is none of the appliance's networks, so that the exit proxy
takes them for something outside.
"""

from __future__ import annotations

import io
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import urllib3
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from docker.models.containers import Container
from minio import Minio
from minio.credentials.providers import StaticProvider
from minio.error import MinioException

from infra.components import certificate
from infra.lab import root
from infra.toolchain import build, tools
from tests import bridge

PATIENCE = 30
KEY_ID, SECRET = "keeper-1", "a+secret/of-the-keeper=1"
BUCKET = "points"
USER = "keeper"
HOME = f"/home/{USER}"


def _address() -> tuple[str, int]:
    """A free one of this machine that containers can meet."""
    address = bridge.address()
    with socket.create_server((address, 0)) as listener:
        return address, listener.getsockname()[1]


def _until(holds: Callable[[], bool], log: Callable[[], str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, log()
        time.sleep(0.1)


@dataclass(frozen=True)
class S3:
    folder: Path
    address: str
    port: int
    ca: str

    def asked(self, **more: Any) -> dict[str, Any]:
        """The copy's entry in a stack file."""
        place = {
            "endpoint": f"https://{self.address}:{self.port}",
            "bucket": BUCKET,
            "key_id": KEY_ID,
            "roots": self.ca,
        }
        return {"s3": place | more, "every": 1440}

    @contextmanager
    def client(self) -> Iterator[Minio]:
        trusted = ssl.create_default_context(cadata=self.ca)
        with urllib3.PoolManager(ssl_context=trusted, retries=False, timeout=5) as http:
            known = StaticProvider(KEY_ID, SECRET)
            yield Minio(f"{self.address}:{self.port}", credentials=known, http_client=http)

    def objects(self) -> dict[str, bytes]:
        """All that was sent, by name."""
        found = {}
        with self.client() as client:
            for each in client.list_objects(BUCKET, recursive=True):
                with client.get_object(BUCKET, str(each.object_name)) as answer:
                    found[str(each.object_name)] = answer.read()
        return found

    @contextmanager
    def shortened(self) -> Iterator[None]:
        """The largest object cut short, and whole again."""
        name, content = max(self.objects().items(), key=lambda each: len(each[1]))
        assert name.startswith("data/")
        try:
            self._put(name, content[: len(content) // 2])
            yield
        finally:
            self._put(name, content)

    def _put(self, name: str, content: bytes) -> None:
        with self.client() as client:
            client.put_object(BUCKET, name, io.BytesIO(content), len(content))

    @contextmanager
    def running(self) -> Iterator[None]:
        with (self.folder / "log").open("a") as log:
            server = subprocess.Popen(
                [
                    *(build.ensure(tools.MINIO, lambda _line: None), "server", self.folder / "disks"),
                    *("--address", f"{self.address}:{self.port}", "--certs-dir", self.folder / "certs"),
                ],
                env={"MINIO_ROOT_USER": KEY_ID, "MINIO_ROOT_PASSWORD": SECRET, "HOME": str(self.folder)},
                stdout=log,
                stderr=log,
            )
        try:
            _until(self._ready, (self.folder / "log").read_text)
            yield
        finally:
            server.kill()
            server.wait()

    def _ready(self) -> bool:
        with self.client() as client:
            try:
                if not client.bucket_exists(BUCKET):
                    client.make_bucket(BUCKET)
            except (urllib3.exceptions.HTTPError, MinioException):
                return False
        return True


def s3(folder: Path) -> S3:
    """One that is not there yet."""
    address, port = _address()
    ca, ca_key = certificate.authority("keeper")
    text, key = certificate.issue([address], ca, ca_key)
    (folder / "certs").mkdir()
    (folder / "certs" / "public.crt").write_text(text)
    (folder / "certs" / "private.key").write_text(key)
    return S3(folder, address, port, ca)


@dataclass(frozen=True)
class Ssh:
    container: Container
    address: str
    port: int
    host_key: str

    def asked(self, **more: Any) -> dict[str, Any]:
        place = {"host": self.address, "port": self.port, "user": USER, "path": f"{HOME}/points"}
        return {"ssh": place | {"host_key": self.host_key} | more, "every": 1440}

    def run(self, script: str) -> str:
        done: Any = self.container.exec_run(["sh", "-ec", script])
        assert done.exit_code == 0, done.output
        return str(done.output.decode())

    def let_in(self, key: str) -> None:
        """Trust the key, and no other."""
        self.run(f"printf '%s\\n' '{key}' > {HOME}/.ssh/authorized_keys")

    def room(self, size: str) -> None:
        """How large its disk is."""
        self.run(f"mount -o remount,size={size} {HOME}")


@contextmanager
def ssh(folder: Path) -> Iterator[Ssh]:
    """A host whose disk is a small one, and which lets nobody in yet."""
    address, port = _address()
    key = Ed25519PrivateKey.generate()
    form, none = serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    (folder / "host_key").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, none))
    (folder / "host_key").chmod(0o600)
    openssh = (serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    public = key.public_key().public_bytes(*openssh).decode()
    client = docker.from_env()
    script = f"""
        useradd --no-create-home --shell /bin/bash {USER}
        chown {USER} {HOME}
        install -d -m 700 -o {USER} {HOME}/.ssh
        mkdir -p /run/sshd
        install -m 600 /given/host_key /run/host_key
        exec /usr/sbin/sshd -D -e -h /run/host_key -p {port} -o ListenAddress={address} -o PasswordAuthentication=no
    """
    container = client.containers.run(
        root.ensure(client, root.BARE["13"], lambda _line: None),
        ["sh", "-ec", script],
        detach=True,
        network_mode="host",
        cap_add=["SYS_ADMIN"],
        security_opt=["apparmor=unconfined", "seccomp=unconfined"],
        tmpfs={HOME: "size=512m,mode=0755"},
        volumes=[f"{folder}:/given:ro"],
    )
    try:
        host = Ssh(container, address, port, public)

        def listens() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex((address, port)) == 0

        _until(listens, lambda: container.logs().decode())
        host.run(f"touch {HOME}/.ssh/authorized_keys; chown {USER} {HOME}/.ssh/authorized_keys")
        yield host
    finally:
        container.remove(force=True)
