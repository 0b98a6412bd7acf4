"""Servers of a stack: taken over from bare, brought to their roles by one ``up``, kept from drift, given back.

The program is a copy of this one whose roles are small ones of the tests' own, so that what is tried here is how roles
are carried out, and not what they do.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from infra import catalog, initialise
from infra.lab import Lab
from infra.releases import version
from infra.site import Site
from infra.ssh import Server
from tests import releases
from tests.conftest import Appliance
from tests.roles import quiet

ROLES = Path(__file__).parent / "roles"
STACK = "hosts"


def letting_in(lab: Lab, name: str, site: Site, **options: Any) -> Server:
    """A bare lab host whose user lets the site's key in."""
    server = lab.up(name, quiet, **options)
    key = site.key.with_suffix(".pub").read_text().strip()
    done = server.run("sh", "-c", f"echo >>.ssh/authorized_keys; echo '{key}' >>.ssh/authorized_keys")
    assert done.returncode == 0, done.stderr
    return server


def given(server: Server, **more: Any) -> dict[str, Any]:
    """What a stack file says of a lab host."""
    return {"address": server.address, "login": server.user, "kernel": "shared"} | more


def root(server: Server, script: str) -> str:
    """What root's shell says there; it must succeed."""
    done = server.run("sudo", "sh", "-euc", script)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The folder of the hosts' owner."""
    site = Site(tmp_path_factory.mktemp("hosts") / "site")
    initialise.make_site(site)
    return site


@pytest.fixture(scope="module")
def lab(site: Site) -> Iterator[Lab]:
    lab = Lab(site, docker.from_env())
    yield lab
    lab.down(quiet)


@pytest.fixture(scope="module")
def made(lab: Lab, site: Site) -> Iterator[Appliance]:
    """A stack without parts, of a program with roles of the tests' own; it goes before its hosts do."""
    program = releases.checkout(site.root.parent / "program", version())
    shutil.rmtree(program / "roles")
    shutil.copytree(ROLES, program / "roles")
    values: dict[str, Any] = {"version": 1, "subnet": "10.70.0.0/20", "backup": {"at": None}, "parts": {}}
    stack = Appliance(STACK, site.root, values, program)
    stack.disable(*(service.name for service in catalog.SERVICES))
    yield stack
    if stack.site.stack_file(STACK).exists():
        stack.maia("destroy", "--yes", STACK)


@pytest.fixture(scope="module")
def one(lab: Lab, made: Appliance) -> Server:
    """A bare server that the stack file names."""
    server = letting_in(lab, "hosts-one", made.site)
    made.write({"hosts": {"one": given(server, roles={"base": {"word": "first", "key": "secret:base-key"}})}})
    return server


def test_up_takes_a_bare_server_over_and_carries_its_roles_out(made: Appliance, one: Server) -> None:
    done = made.maia("up")
    assert "first contact: its key is pinned, SHA256:" in done.stdout
    assert "base : Write the word" in done.stderr, "progress"
    assert root(one, "cat /etc/tried") == "first (container)\n"
    mark = json.loads(root(one, "cat /etc/maia/host.json"))
    assert (mark["stack"], mark["host"], mark["whole"]) == (STACK, "one", True)
    assert root(one, "id -nG maia; passwd --status maia").split()[:3] == ["maia", "maia", "L"]


def test_a_second_up_runs_nothing_and_says_so(made: Appliance, one: Server) -> None:
    done = made.maia("up")
    assert "changes: none" in done.stdout
    assert "nothing that feeds its roles has changed" in done.stderr
    assert "base :" not in done.stderr
