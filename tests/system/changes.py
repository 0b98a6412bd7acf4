"""The particular changes that the table of mutations makes."""

from __future__ import annotations

import json
import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from checks.store import Store
from infra.components import certificate
from tests.system.mutations import Change, World, config, edited, recreated, undoing, until

NODE = "node-exporter"
"""A part that nobody needs and that keeps nothing."""
SQUID = "config/squid.conf"


def environment(world: World, body: dict[str, Any]) -> None:
    body["Env"].append(f"PASSWORD={world.secrets['operator']}")


def another_port(_world: World, body: dict[str, Any]) -> None:
    """The plain listener on one more address."""
    bindings = body["HostConfig"]["PortBindings"]["8080/tcp"]
    bindings.append({**bindings[0], "HostIp": "127.0.0.2"})


def remembering(**known: object) -> Change:
    """What the backup part remembers of its jobs is this."""

    @contextmanager
    def change(world: World) -> Iterator[None]:
        status, kept = "/data/status.json", "/data/kept.json"
        _in_backup(world, f"mv {status} {kept}; echo '{json.dumps(known)}' > {status}")
        try:
            yield
        finally:
            _in_backup(world, f"rm {status}; mv {kept} {status}")

    return change


@contextmanager
def archive_shut(world: World) -> Iterator[None]:
    """The archive takes no WAL any more, and a segment waits since an hour."""
    folder, waiting = world.site.archive(world.stack.name), "/var/spool/pgbackrest/0*"
    owner = folder.stat().st_uid
    os.chown(folder, 0, 0)
    try:
        world.sql("create table maia_check_mutation ()", "drop table maia_check_mutation", "select pg_switch_wal()")
        until(lambda: _in_backup(world, f"ls {waiting}") == 0, "a segment waits")
        _in_backup(world, f"touch -d '1 hour ago' {waiting}")
        yield
    finally:
        os.chown(folder, owner, owner)
        until(lambda: _in_backup(world, f"ls {waiting}") != 0, "the spool is empty")


def _in_backup(world: World, script: str) -> int:
    """As the part's own user, to whom the files belong; the exit code."""
    done: Any = world.container("backup").exec_run(["sh", "-c", script])
    return int(done.exit_code)


@contextmanager
def another_image(world: World) -> Iterator[None]:
    image = world.container(NODE).commit(repository="maia-check-mutation")
    try:
        with config(NODE, Image=image.id)(world):
            yield
    finally:
        world.docker.images.remove(str(image.id), force=True)


@contextmanager
def way_out(world: World) -> Iterator[None]:
    """The planted connection: a bridge with a way out, joined by a part that has none."""
    network = world.docker.networks.create("maia-check-mutation", driver="bridge")
    try:
        network.connect(world.container("redis"))
        yield
    finally:
        network.disconnect(world.container("redis"), force=True)
        network.remove()


@contextmanager
def outside_names(world: World) -> Iterator[None]:
    """A part whose resolver asks a server on this machine, over a bridge that has an address here."""
    network = world.docker.networks.create("maia-check-mutation", driver="bridge")
    network.reload()
    address = network.attrs["IPAM"]["Config"][0]["Gateway"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((address, 53))
        threading.Thread(target=_deny_all_names, args=(server,), daemon=True).start()

        def alter(_world: World, body: dict[str, Any]) -> None:
            body["HostConfig"]["Dns"] = [address]
            body["Networks"][network.name] = {}

        try:
            with recreated(NODE, alter)(world):
                yield
        finally:
            network.remove()


def _deny_all_names(server: socket.socket) -> None:
    with suppress(OSError):  # it was closed
        while True:
            query, peer = server.recvfrom(512)
            # NXDOMAIN, with the query's own number and question.
            server.sendto(query[:2] + struct.pack(">H", 0x8183) + query[4:], peer)


def joins(zone: str, part: str) -> Change:
    def network(world: World) -> Any:
        return world.docker.networks.get(f"maia-{world.stack.name}-{zone}")

    return undoing(
        lambda world: network(world).connect(world.container(part)),
        lambda world: network(world).disconnect(world.container(part), force=True),
    )


@contextmanager
def rogue(world: World) -> Iterator[None]:
    image = world.stack.plan.container(NODE).image_id
    container = world.docker.containers.run(
        image, ["sleep", "600"], entrypoint=[], name=world.name("rogue"), network_mode="none", detach=True
    )
    try:
        yield
    finally:
        container.remove(force=True)


@contextmanager
def paused(world: World) -> Iterator[None]:
    world.container(NODE).pause()
    try:
        yield
    finally:
        world.container(NODE).unpause()
        until(lambda: world.container(NODE).health == "healthy", "Docker found it healthy again")


def beside(*command: str, user: str = "") -> Change:
    """A process put into a running container."""

    @contextmanager
    def change(world: World) -> Iterator[None]:
        words = [word.format(secret=world.secrets["operator"]) for word in command]
        world.container(NODE).exec_run(words, user=user, detach=True)
        try:
            yield
        finally:
            world.container(NODE).restart()
            world.await_healthy(NODE)

    return change


def store(do: str, undo: str, *arguments: Any) -> Change:
    def call(name: str, *with_: Any) -> Any:
        return lambda world: getattr(Store(world.stack.plan, world.site).admin, name)(*with_)

    return undoing(call(do, *arguments), call(undo, arguments[0]))


@contextmanager
def public_bucket(world: World) -> Iterator[None]:
    client = Store(world.stack.plan, world.site).objects()
    client.make_bucket("mutation")
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": ["*"]},
        "Action": ["s3:GetObject"],
        "Resource": ["arn:aws:s3:::mutation/*"],
    }
    try:
        client.set_bucket_policy("mutation", json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
        yield
    finally:
        client.remove_bucket("mutation")


@contextmanager
def expired_waiver(world: World) -> Iterator[None]:
    file = world.site.root / "waivers.yaml"
    yesterday = date.today() - timedelta(days=1)
    file.write_text(f"- check: baseline.readonly\n  reason: a trial\n  expires: {yesterday}\n")
    try:
        yield
    finally:
        file.unlink()


def alert(world: World) -> None:
    """Wait until the planted rule has been looked at, and fires for as long as it is there."""
    planted = "Planted" in world.file("prometheus", "config/alerts.yml").read_text()
    command = [
        "bash",
        "-c",
        "exec 3<>/dev/tcp/127.0.0.1/9090; printf 'GET /api/v1/alerts HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3",
    ]
    found = world.container("prometheus")
    until(lambda: (b'"Planted"' in found.exec_run(command).output) == planted, "the planted alert comes and goes")


def planted_alert(text: str) -> str:
    rule = "{alert: Planted, expr: vector(1), labels: {severity: critical}}"
    return f"{text}\n  - name: planted\n    rules: [{rule}]\n"


def proxy(world: World) -> None:
    """Have the exit proxy read its configuration again, and wait until it refuses, or no more."""
    closed = "http_access allow all" not in world.file("exit", SQUID).read_text()
    world.container("exit").kill("HUP")
    ask = (
        "exec 3<>/dev/tcp/127.0.0.1/3128; printf 'GET http://240.0.0.1/ HTTP/1.0\\r\\n\\r\\n' >&3;"
        ' read -r line <&3; echo "$line"'
    )

    def says() -> bool:
        output = world.container("exit").exec_run(["timeout", "20", "bash", "-c", ask]).output
        assert isinstance(output, bytes)
        return output.startswith(b"HTTP/") and (b" 403 " in output) == closed

    until(says, "the exit proxy follows its configuration")


@contextmanager
def expiring(world: World) -> Iterator[None]:
    """The gateway's certificate, signed anew by the internal CA for a week only."""
    signer = serialization.load_pem_private_key(world.secrets["ca-key"].encode(), password=None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)

    def signed(text: str) -> str:
        before = x509.load_pem_x509_certificate(text.encode())
        builder = (
            x509.CertificateBuilder(extensions=list(before.extensions))
            .subject_name(before.subject)
            .issuer_name(before.issuer)
            .public_key(before.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(before.not_valid_before_utc)
            .not_valid_after(datetime.now(UTC) + timedelta(days=7))
        )
        return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()

    with edited("gateway", "secrets/tls.crt", signed, "HUP")(world):
        yield


def signed_by_nobody(_text: str) -> str:
    """A certificate from another authority, for another name."""
    return certificate.issue(["elsewhere"], *certificate.authority("stranger"))[0]
