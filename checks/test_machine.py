"""What lies around the containers on this machine is closed to others."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import testinfra
from testinfra.host import Host

from checks import evidence
from checks.plugin import Case, Expect, cases, waiver_files
from infra import atomic
from infra.place import Place
from infra.plan import Plan
from infra.site import Site

DOCKER = "/var/run/docker.sock"


@pytest.fixture(scope="module")
def machine() -> Host:
    return testinfra.get_host("local://")


@cases(lambda plan: [Case(rule) for rule in ("passphrase", "site", "state", "administrators", "docker-socket")])
def test_machine(case: Case, plan: Plan, site: Site, at: Place, machine: Host, expect: Expect) -> None:
    """Only their owner may open them; of Docker's socket, also its group."""
    if case.rule == "docker-socket":
        mode, uid = at.call(atomic.mode, DOCKER)
        expect({"mode beyond": mode & ~0o660, "owner": uid}, {"mode beyond": 0, "owner": 0})
        return
    path, allowed = {
        "passphrase": (site.passphrase, 0o600),
        "site": (site.root, 0o700),
        "state": (site.state, 0o700),
        "administrators": (site.files(plan.stack) / "administrators", 0o500),
    }[case.rule]
    found = machine.file(str(path))
    expect({"mode beyond": found.mode & ~allowed, "owner": found.uid}, {"mode beyond": 0, "owner": 0})


@cases(lambda plan: [Case("socket", container.part) for container in plan.containers if container.socket])
def test_admin(case: Case, plan: Plan, at: Place, home: Site, expect: Expect) -> None:
    """The folder of an administrative socket opens to the part's user and root alone."""
    mode, owner = at.call(atomic.mode, str(home.sockets(plan.stack) / case.part))
    uid = int(plan.container(case.part).user.partition(":")[0])
    expect({"mode": mode, "owner": owner}, {"mode": 0o700, "owner": uid})


@cases(lambda plan: [Case("valid")])
def test_waivers(case: Case, site: Site, expect: Expect) -> None:
    """A waiver ends on its day: then the check is red again, and so is this one until the waiver is removed."""
    today = datetime.now(UTC).date()
    expect([waiver.check for waiver in evidence.waivers(*waiver_files(site)) if waiver.expires < today], [])
