"""A real ACME directory on this machine: Pebble, built from pinned Go modules, and a name server that leads home."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import urllib3

from infra.components import certificate
from infra.site import REPO
from infra.toolchain import build
from tests import bridge

VERSION = "2.10.1"
MODULE = REPO / "tests" / "pebble"
PACKAGE = "github.com/letsencrypt/pebble/v2/cmd"
PEBBLE = build.Tool(name="pebble", version=VERSION, module=MODULE, package=f"{PACKAGE}/pebble")
NAMES = build.Tool(name="pebble-challtestsrv", version=VERSION, module=MODULE, package=f"{PACKAGE}/pebble-challtestsrv")
PATIENCE = 30
"""Seconds within which a server must listen."""


def _free(address: str) -> int:
    with socket.create_server((address, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@dataclass(frozen=True)
class Directory:
    """Where it will be, before it is: an address of this machine's that is no container's."""

    folder: Path
    address: str
    port: int
    management: int
    ca: str
    """PEM of what has signed its own certificate."""
    challenges: int
    """The port of the gateway that it takes for port 80."""
    key_id: str
    key: str

    @property
    def url(self) -> str:
        return f"https://{self.address}:{self.port}/dir"

    @contextmanager
    def running(self) -> Iterator[str]:
        """PEM of the root of what it issues; another one each time."""
        names, port = _free("127.0.0.1"), self.challenges
        config = {
            "listenAddress": f"{self.address}:{self.port}",
            "managementListenAddress": f"127.0.0.1:{self.management}",
            "certificate": str(self.folder / "tls.crt"),
            "privateKey": str(self.folder / "tls.key"),
            "httpPort": port,
            "tlsPort": port,
            "externalAccountBindingRequired": True,
            "externalAccountMACKeys": {self.key_id: self.key},
            "retryAfter": {"authz": 1, "order": 1},
            "profiles": {"default": {"description": "the only one", "validityPeriod": 90 * 86400}},
        }
        (self.folder / "pebble.json").write_text(json.dumps({"pebble": config}))
        quiet = [f"-{each}=" for each in ("http01", "https01", "tlsalpn01", "doh", "defaultIPv6")]
        servers: dict[build.Tool, list[str]] = {
            NAMES: [f"-dnsserver=127.0.0.1:{names}", f"-management=127.0.0.1:{_free('127.0.0.1')}", *quiet],
            PEBBLE: [f"-config={self.folder}/pebble.json", f"-dnsserver=127.0.0.1:{names}"],
        }
        with ExitStack() as stack:
            for tool, arguments in servers.items():
                log = stack.enter_context((self.folder / f"{tool.name}.log").open("a"))
                server = subprocess.Popen(
                    [build.ensure(tool, lambda _line: None), *arguments],
                    env=os.environ | {"PEBBLE_VA_NOSLEEP": "1"},
                    stdout=log,
                    stderr=log,
                )
                stack.callback(server.wait)
                stack.callback(server.kill)
            yield self._root()

    def _root(self) -> str:
        trusted = ssl.create_default_context(cadata=self.ca)
        deadline = time.monotonic() + PATIENCE
        with urllib3.PoolManager(ssl_context=trusted, retries=False) as client:
            while True:
                try:
                    return client.request("GET", f"https://127.0.0.1:{self.management}/roots/0").data.decode()
                except urllib3.exceptions.HTTPError:
                    assert time.monotonic() < deadline, (self.folder / "pebble.log").read_text()
                    time.sleep(0.1)


def directory(folder: Path, challenges: int) -> Directory:
    """A directory that asks a gateway on loopback and is met, by containers too, on Docker's own bridge."""
    address = bridge.address()
    ca, ca_key = certificate.authority("pebble")
    text, key = certificate.issue([address, "127.0.0.1"], ca, ca_key)
    (folder / "tls.crt").write_text(text)
    (folder / "tls.key").write_text(key)
    return Directory(
        folder=folder,
        address=address,
        port=_free(address),
        management=_free("127.0.0.1"),
        ca=ca,
        challenges=challenges,
        key_id="kid-1",
        key="zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W",
    )
