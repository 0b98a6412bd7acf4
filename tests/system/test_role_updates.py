"""The role updates: what is upgraded by itself and what is not, what is restarted after it, and when the machine is."""

from __future__ import annotations

import re
from pathlib import Path

import docker
import pytest

from infra.errors import MaiaError
from infra.lab import Lab
from infra.site import Site
from tests.roles import Target, quiet
from tests.servers import ARCHIVES
from tests.system.mutations import until

FILES = "find /etc /usr/local -name '*maia*' | sort"
WRITTEN = [
    "/etc/apt/apt.conf.d/60-maia.conf",
    "/etc/needrestart/conf.d/60-maia.conf",
    "/usr/local/sbin/maia-reboot-wanted",
]
WINDOW = [
    "/etc/systemd/system/maia-reboot.service",
    "/etc/systemd/system/maia-reboot.timer",
    "/etc/systemd/system/timers.target.wants/maia-reboot.timer",
]


@pytest.fixture(scope="module")
def updated(host: Target) -> Target:
    before = host.sh("dpkg-query --list | wc -l")
    assert host.apply("updates", check=True)
    assert host.sh(FILES + "; dpkg-query --list | wc -l") == before, "only looked"
    assert host.apply("updates")
    return host


def test_a_security_update_comes_by_itself_and_no_other_one(updated: Target) -> None:
    updated.sh(ARCHIVES)
    updated.sh("unattended-upgrade")
    assert updated.sh("dpkg-query --show --showformat='${Version} ' common urgent") == "1 2 "
    assert updated.sh("cat /etc/urgent.conf") == "changed here\n", "what was changed is kept, and nobody is asked"
    updated.sh("rm /etc/apt/sources.list.d/test.list; dpkg --purge urgent common")


def test_it_happens_every_day(updated: Target) -> None:
    assert updated.sh("systemctl is-enabled apt-daily.timer apt-daily-upgrade.timer") == "enabled\nenabled\n"
    asked = "lists APT::Periodic::Update-Package-Lists run APT::Periodic::Unattended-Upgrade"
    said = updated.sh(f"apt-config shell {asked}")
    assert said == "lists='1'\nrun='1'\n"


def test_what_uses_a_former_version_is_restarted_without_a_question(updated: Target) -> None:
    updated.sh("cp /usr/bin/sleep /usr/local/bin/probe; systemd-run --quiet --unit=probe /usr/local/bin/probe 3600")
    first = updated.sh("systemctl show --property=MainPID probe")
    updated.sh("cp /usr/bin/sleep /usr/local/bin/new; mv /usr/local/bin/new /usr/local/bin/probe")
    updated.sh("touch /run/needrestart/unpacked; /usr/lib/needrestart/apt-pinvoke </dev/null")  # as after an upgrade
    until(lambda: updated.sh("systemctl is-active probe || true") == "active\n", "it is back")
    assert updated.sh("systemctl show --property=MainPID probe") != first
    updated.sh("systemctl stop probe; rm /usr/local/bin/probe")


def test_what_a_restart_is_wanted_for_is_listed(updated: Target) -> None:
    asked = "maia-reboot-wanted && echo wanted || echo unwanted"
    assert updated.sh(asked) == "unwanted\n"
    updated.sh("touch /run/reboot-required; printf 'linux-image\\nlinux-image\\n' >/run/reboot-required.pkgs")
    assert updated.sh(asked) == "package linux-image\nwanted\n"
    updated.sh("rm /run/reboot-required.pkgs")
    assert updated.sh(asked) == "package unknown\nwanted\n"
    updated.sh("rm /run/reboot-required")


def test_the_machine_restarts_in_its_window_or_never(updated: Target) -> None:
    assert updated.sh(FILES).splitlines() == WRITTEN
    assert updated.apply("updates", updates_reboot="Sun 03:30", updates_held=["^docker[.]io$"])
    assert re.search("^Sun .* 03:30:00 ", updated.sh("systemctl list-timers --no-legend maia-reboot.timer"))
    assert "^docker[.]io$" in updated.sh("apt-config dump Unattended-Upgrade::Package-Blacklist")
    updated.sh("touch /run/reboot-required; systemctl start maia-reboot; rm /run/reboot-required")
    assert updated.sh("systemctl show --value --property=ConditionResult maia-reboot") == "no\n", "not a container"
    assert updated.apply("updates")
    assert updated.sh(FILES).splitlines() == WRITTEN
    assert "maia-reboot" not in updated.sh("systemctl list-timers --all")


def test_a_window_that_is_none_is_refused(updated: Target) -> None:
    with pytest.raises(MaiaError, match="Failed to parse calendar"):
        updated.apply("updates", updates_reboot="Sunday night")


def test_the_role_again_changes_nothing(updated: Target) -> None:
    assert updated.apply("updates") == []
    assert updated.apply("updates", check=True) == []


def test_what_was_written_can_be_removed(updated: Target) -> None:
    assert updated.apply("updates", entry="remove")
    assert updated.sh(FILES) == ""
    assert updated.apply("updates", entry="remove") == []


def test_an_image_gets_the_same(image: Target) -> None:
    assert image.apply("updates", check=True, updates_reboot="Sun 03:30")
    assert image.apply("updates", updates_reboot="Sun 03:30")
    assert image.sh(FILES).splitlines() == sorted([*WRITTEN, *WINDOW])
    assert image.apply("updates", updates_reboot="Sun 03:30") == []


@pytest.mark.long
def test_debian_12_takes_it_too(tmp_path: Path) -> None:
    lab = Lab(Site(tmp_path / "site"), docker.from_env())
    try:
        older = Target(lab.up("role-updates-12", quiet, release="12"))
        assert older.apply("updates", updates_reboot="Sun 03:30")
        assert older.apply("updates", updates_reboot="Sun 03:30") == []
        said = older.sh("unattended-upgrade --dry-run --debug 2>&1 | grep 'Allowed origins are'")
        assert said.split(": ")[1] == "origin=Debian,codename=bookworm-security,label=Debian-Security\n"
    finally:
        lab.down(quiet)
