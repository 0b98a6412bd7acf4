"""A virtual machine, whose kernel is its own: what test hosts that share one cannot show is shown there."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import docker
import pytest

from checks import hostrules, hosts, wishes
from checks.hostrules import Verdict
from checks.seen import Seen
from infra import ssh
from infra.config import parse
from infra.images import sandbox, scratch
from infra.lab import Lab, root, vm
from infra.plan import build
from infra.site import Site, cache
from tests.roles import Target, quiet
from tests.system.mutations import until
from tests.system.test_host_checks import waived
from tests.unit.conftest import MACHINE, images

pytestmark = pytest.mark.long

DATA = {"data": "/dev/disk/by-id/virtio-data", "encrypted": True, "docker": True}
ROLES: dict[str, Mapping[str, Any]] = {
    "base": {},
    "users": {},
    "firewall": {},
    "hardening": {},
    "audit": {},
    "updates": {},
    "disks": {f"disks_{name}": value for name, value in DATA.items()},
    "docker": {"docker_hardened": True},
}
"""Not ssh, of which nothing is the kernel's: it gives who logs in less time than an emulated server may take."""
IN_ROOT = ROLES | {"disks": {"disks_data": DATA["data"], "disks_docker": True}}
"""The same where nothing runs: no disk is encrypted there."""
WANTS = frozenset(filter(hostrules.wants_kernel, hostrules.names()))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    made = Lab(Site(tmp_path_factory.mktemp("vm") / "site"), docker.from_env())
    yield made
    made.down(quiet)


@pytest.fixture(scope="module")
def archive() -> Iterator[Path]:
    """Of a root file system that the roles have prepared while nothing ran in it."""
    with scratch.folder(cache() / "lab" / "roots", sandbox.remove) as folder:
        tree, made = folder / "root", folder / "root.tar"
        tree.mkdir()
        subprocess.run(["tar", "-C", tree, "-xpf", root.archive(vm.GUEST, quiet)], check=True)
        assert Target(tree).together(IN_ROOT)
        subprocess.run(["tar", "-C", tree, "--numeric-owner", "-cf", made, "."], check=True)
        yield made


@pytest.fixture(scope="module")
def server(lab: Lab, archive: Path) -> ssh.Server:
    return lab.machine("vm", quiet, archive=archive)


@pytest.fixture(scope="module")
def prepared(server: ssh.Server) -> Target:
    """The machine as the roles make it."""
    target = Target(server, own=True)
    assert target.together(ROLES)
    return target


@pytest.fixture(scope="module")
def verdicts(prepared: Target) -> dict[str, Verdict]:
    """What becomes of each rule after a restart, with nobody logged in until all units were started."""
    _restart(prepared)
    assert isinstance(prepared.on, ssh.Server)
    hosts_ = {"vm": {"address": "192.0.2.1", "login": prepared.on.user, "roles": {"disks": DATA}}}
    plan = build("local", parse("local", {"maia:hosts": hosts_}), MACHINE, images())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hosts, "PATIENCE", vm.PATIENCE)
        found = hosts.look("vm", prepared.on, wishes.ask(hostrules.EXTRA))
    return {rule: hostrules.judge(rule, Seen(plan, plan.hosts[0], found)) for rule in hostrules.names()}


def _boot(server: ssh.Server) -> str:
    """Which start of the machine this is; empty while it does not answer."""
    return server.run("cat", "/proc/sys/kernel/random/boot_id").stdout


def _restart(target: Target) -> None:
    assert isinstance(target.on, ssh.Server)
    server, before = target.on, _boot(target.on)
    server.run("sudo", "systemctl", "reboot")
    until(lambda: _boot(server) not in ("", before), "the machine starts again", vm.PATIENCE)
    until(lambda: "running" in server.run("systemctl", "is-system-running").stdout, "every unit runs", vm.PATIENCE)


def test_a_machine_is_debian_on_a_kernel_of_its_own(server: ssh.Server) -> None:
    assert 'VERSION_ID="13"' in server.run("cat", "/etc/os-release").stdout
    assert server.run("systemd-detect-virt").stdout == "qemu\n"
    assert server.run("uname", "-v").stdout.startswith("#1 SMP PREEMPT_DYNAMIC Debian")
    assert server.run("hostname").stdout == "vm\n"


def test_what_emulates_it_may_do_nothing_to_this_machine(server: ssh.Server) -> None:
    container = docker.from_env().containers.get(server.name)
    status = Path(f"/proc/{container.attrs['State']['Pid']}/status").read_text()
    facts = dict(line.split(":\t", 1) for line in status.splitlines())
    assert (facts["CapEff"], facts["CapBnd"], facts["NoNewPrivs"]) == ("0" * 16, "0" * 16, "1")
    assert facts["Uid"].split() == [str(vm.UID)] * 4
    assert container.ports == {}
    assert not container.attrs["HostConfig"]["Devices"]


def test_a_second_time_the_roles_change_nothing(prepared: Target) -> None:
    assert prepared.together(ROLES) == []


def test_after_a_restart_what_wants_a_kernel_of_its_own_holds_or_is_waived(verdicts: dict[str, Verdict]) -> None:
    found = {rule: verdicts[rule] for rule in WANTS}
    assert {rule: each for rule, each in found.items() if not (each.holds or each.missing or waived(rule))} == {}
    assert [rule for rule, each in found.items() if each.missing.startswith("not provable here")] == []
    assert sum(each.holds for each in found.values()) >= 57


def test_the_encrypted_disk_is_opened_and_mounted_before_docker(prepared: Target, verdicts: dict[str, Verdict]) -> None:
    assert verdicts["disk.data"].holds
    kinds = prepared.sh("lsblk --noheadings --output TYPE /dev/disk/by-id/virtio-data").split()
    assert sorted(kinds) == ["crypt", "disk"]
    assert prepared.sh("systemctl is-active docker") == "active\n"


def test_with_the_power_cut_it_starts_again(lab: Lab, prepared: Target, verdicts: dict[str, Verdict]) -> None:
    assert isinstance(prepared.on, ssh.Server)
    docker.from_env().containers.get(prepared.on.name).kill()
    assert [host.state for host in lab.hosts()] == ["exited"]
    server = lab.machine("vm", quiet)
    until(lambda: server.run("findmnt", "/srv/data").returncode == 0, "its disk is opened", vm.PATIENCE)
    assert [(host.name, host.own, host.state) for host in lab.hosts()] == [("vm", True, "running")]
