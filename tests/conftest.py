"""Options of every layer, and the real stacks that tests of a running appliance share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker
import pytest
import yaml

from infra.site import REPO, Site
from infra.stack import Stack
from tests.processes import kill_all

if TYPE_CHECKING:
    from tests.clients import Bucket

STORES = ("backup", "postgres", "postgres-exporter", "redis", "redis-exporter", "minio", "s3")
"""The parts that keep data, and those that need them."""
NAMES = ("second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh")
STACKS = {
    name: (18443 + 1000 * number, 18080 + 1000 * number, f"10.{72 + number}.0.0/20")
    for number, name in enumerate(NAMES)
}
"""Ports and addresses of the tests' stacks."""
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
SHARED, OWN = NAMES[2 * WORKER : 2 * WORKER + 2]
"""The stack that a run shares, and the one that a test breaks; each worker has two of its own."""
LIMIT = 3000
"""Seconds after which a verb is taken for hung: the first one on a fresh machine compiles the engine."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="run the long tests too")
    parser.addoption("--report", type=Path, metavar="FILE", help="write a page on the run")
    parser.addoption("--site", type=Path, help="use the stack of this site folder, and leave it running")


def pytest_configure(config: pytest.Config) -> None:
    if (path := config.getoption("--report")) and not hasattr(config, "workerinput"):
        from tests.report import Report

        config.pluginmanager.register(
            Report(path, full=config.getoption("--full"), long=config.getoption("-m") == "long")
        )


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Name what failed at once: two workers' dots do not, and a whole run is long."""
    if report.failed and hasattr(report, "node"):  # only where workers report to us
        print(f"\nfailed: {report.nodeid} ({report.when})", file=sys.stderr, flush=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--full"):
        return
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(pytest.mark.skip(reason="long: maia test --full runs it"))


@dataclass
class Appliance:
    """A stack of its own site, worked through the same command as a person would use."""

    name: str
    root: Path
    values: dict[str, Any]
    """``maia:`` keys of its stack file, without the prefix."""
    program: Path = REPO
    """The checkout whose command it is."""
    _secrets: dict[str, str] = field(default_factory=dict)
    _started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def site(self) -> Site:
        return Site(self.root)

    @property
    def stack(self) -> Stack:
        """Read anew, because tests change the stack file."""
        return Stack(self.name, self.site)

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {"MAIA_SITE": str(self.root), "MAIA_STACK": self.name}

    def maia(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a verb; with ``check``, its failure is the test's."""
        done = subprocess.run(
            [self.program / "maia", *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        if check:
            assert done.returncode == 0, f"maia {' '.join(arguments)}\n{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
        return done

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Begin a verb that the test will interrupt."""
        begun = subprocess.Popen(
            [self.program / "maia", *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._started.append(begun)
        return begun

    def end(self) -> None:
        """End every verb that a failed test left at work."""
        for begun in self._started:
            if begun.poll() is None:
                kill_all(begun)

    def write(self, changes: Mapping[str, Any] | None = None) -> None:
        """Write the stack file, with ``changes`` to its ``maia:`` keys; secrets in it are kept."""
        self.values |= changes or {}
        path = self.site.stack_file(self.name)
        document = yaml.safe_load(path.read_text()) if path.exists() else {}
        kept = {key: value for key, value in (document.get("config") or {}).items() if not key.startswith("maia:")}
        document["config"] = kept | {f"maia:{key}": value for key, value in self.values.items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(document))

    def disable(self, *parts: str) -> None:
        """Leave these parts out."""
        self.values["parts"] |= {name: {"enabled": False} for name in parts}

    def secret(self, name: str) -> str:
        if name not in self._secrets:
            self._secrets[name] = self.maia("secrets", "show", name).stdout.strip()
        return self._secrets[name]

    @property
    def url(self) -> str:
        """The gateway's origin."""
        return self.stack.plan.origin

    @property
    def ca(self) -> str:
        """Path of the CA certificate that clients trust."""
        return str(self.site.files(self.name) / "gateway" / "config" / "ca.crt")

    def leftovers(self) -> list[str]:
        """Whatever of the stack is on this machine."""
        client = docker.from_env()
        mine: dict[str, Any] = {"name": f"maia-{self.name}-"}
        found = [
            *(f"container {c.name}" for c in client.containers.list(all=True, ignore_removed=True, filters=mine)),
            *(f"network {n.name}" for n in client.networks.list(filters=mine)),
            *(f"volume {v.name}" for v in client.volumes.list(filters=mine)),
        ]
        folders = (self.site.files(self.name), self.site.sockets(self.name), self.site.stack_file(self.name))
        return found + [f"path {path}" for path in folders if path.exists()]


def _values(name: str) -> dict[str, Any]:
    https, http, subnet = STACKS[name]
    return {
        "version": 1,
        "subnet": subnet,
        "gateway": {"names": ["localhost"], "https": https, "http": http},
        "backup": {"at": None},
        "parts": {"postgres": {"memory": 512}, "redis": {"memory": 128}, "minio": {"memory": 512}},
    }


@pytest.fixture(scope="session")
def appliance(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """A whole stack, up and verified, with names and ports of its own; a test leaves it as it found it."""
    kept: Path | None = request.config.getoption("--site")
    made = Appliance(SHARED, kept or tmp_path_factory.mktemp("site"), _values(SHARED))
    made.write()
    made.maia("up")
    yield made
    if not kept:
        made.maia("destroy", "--yes", made.name)


@pytest.fixture(scope="session")
def stack(appliance: Appliance) -> Stack:
    """The running appliance's stack."""
    return appliance.stack


@pytest.fixture(scope="module")
def bucket(stack: Stack) -> Iterator[Bucket]:
    """A bucket with one user of its own, gone after the module."""
    from tests import clients

    with clients.bucket(stack, "maia-test-files") as made:
        yield made


@contextmanager
def small(root: Path) -> Iterator[Appliance]:
    """A small stack that is not up yet, to bring up, break and remove; nothing of it is left afterwards.

    Nor is anything there before: where the one before it failed half way, this one need not fail of that as well.
    """
    from infra import leftovers

    made = Appliance(OWN, root, _values(OWN))
    leftovers.remove_all(made.stack, print)
    made.disable("alertmanager", "node-exporter", "blackbox-exporter", "exit")
    made.write()
    try:
        yield made
    finally:
        made.end()
        if any(not left.startswith("path") for left in made.leftovers()) and made.site.stack_file(made.name).exists():
            made.maia("destroy", "--yes", made.name)


@pytest.fixture
def throwaway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """A small stack of one test's own, in a folder whose name is short: the path of a socket may not be long."""
    with small(tmp_path_factory.mktemp("own") / "site") as made:
        yield made
