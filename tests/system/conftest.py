"""What tests of the running appliance, of its pages and of its hosts share."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import docker
import httpx
import pytest

from infra.images import sandbox, scratch
from infra.lab import Lab, root
from infra.plan import Plan
from infra.site import Site, cache
from tests import clients
from tests.conftest import Appliance
from tests.roles import Target, quiet


@pytest.fixture(scope="module")
def operator(appliance: Appliance) -> Iterator[httpx.Client]:
    """The gateway, asked with the operator's login."""
    with clients.operator(appliance) as client:
        yield client


@pytest.fixture
def plan(appliance: Appliance) -> Plan:
    """The plan of the running stack."""
    return appliance.stack.plan


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A bare Debian 13 server for one file of tests."""
    lab = Lab(Site(tmp_path_factory.mktemp("host") / "site"), docker.from_env())
    name = request.path.stem.removeprefix("test_").replace("_", "-")
    yield Target(lab.up(name, quiet))
    lab.down(quiet)


@pytest.fixture(scope="module")
def image() -> Iterator[Target]:
    """The root file system of a bare Debian 13 in which nothing runs."""
    with scratch.folder(cache() / "lab" / "roots", sandbox.remove) as folder:
        (folder / "root").mkdir()
        subprocess.run(["tar", "-C", folder / "root", "-xpf", root.archive(root.BARE["13"], quiet)], check=True)
        yield Target(folder / "root")
