"""The role base: what every server has, and nothing of what the kernel has but once where that is another's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import docker
import pytest

from infra.errors import MaiaError
from infra.lab import Lab
from infra.site import Site
from infra.ssh import Server
from tests.roles import Target, quiet
from tests.system.mutations import until

SETTINGS: dict[str, Any] = {
    "base_timezone": "Europe/Vienna",
    "base_locale": "de_AT.UTF-8",
    "base_time_servers": ["time1.example", "time2.example"],
    "base_journal_size": "48M",
    "base_journal_keep_free": "16M",
    "base_hostname": "ledger.clinic.example",
    "base_hosts": {"10.9.8.7": ["archive.clinic.example", "archive"]},
    "base_swap_mebibytes": 64,
}
FILES = "find /etc -name '*maia*' | sort"
WRITTEN = [
    "/etc/sysctl.d/60-maia-base.conf",
    "/etc/systemd/journald.conf.d/zz-maia.conf",
    "/etc/systemd/system/maia-swap.service",
    "/etc/systemd/system/multi-user.target.wants/maia-swap.service",
    "/etc/systemd/timesyncd.conf.d/60-maia.conf",
]


def _logged(host: Target) -> bool:
    return "written before" in host.sh("journalctl --quiet --identifier=roletest --output=cat")


@pytest.fixture(scope="module")
def based(host: Target) -> Target:
    """The host with the role."""
    assert host.apply("base", check=True, **SETTINGS)
    assert host.sh(FILES) == "", "only looked"
    host.sh("logger --tag roletest written before")
    assert host.apply("base", **SETTINGS)
    return host


def test_a_login_has_the_time_zone_and_the_locale(based: Target) -> None:
    assert isinstance(based.on, Server)
    said = based.on.run("sh", "-c", "date --date=2026-01-01T12:00:00Z '+%H %Z'; echo $LANG; locale charmap").stdout
    assert said.split("\n") == ["13 CET", "de_AT.UTF-8", "UTF-8", ""]


def test_the_journal_outlives_a_restart_within_its_bounds(based: Target) -> None:
    until(lambda: _logged(based), "the journal was read")
    assert based.sh("find /var/log/journal -name system.journal") != ""
    said = based.sh("journalctl --quiet --unit=systemd-journald --output=cat")
    assert "max 48M" in [line for line in said.splitlines() if "System Journal" in line][-1]
    effective = based.sh("systemd-analyze cat-config systemd/journald.conf | grep ^ForwardToSyslog= | tail -1")
    assert effective == "ForwardToSyslog=no\n", "Debian's own file comes earlier"


def test_only_the_named_time_servers_are_asked(based: Target) -> None:
    said = based.sh("systemd-analyze cat-config systemd/timesyncd.conf | grep -E '^(Fallback)?NTP='").splitlines()
    assert said == ["NTP=time1.example time2.example", "FallbackNTP="]
    assert based.sh("systemctl is-enabled systemd-timesyncd") == "enabled\n"


def test_the_host_has_its_name_and_knows_others(based: Target) -> None:
    assert based.sh("hostname; hostname --fqdn") == "ledger.clinic.example\n" * 2
    assert based.sh("getent hosts ledger archive | cut -d' ' -f1") == "127.0.1.1\n10.9.8.7\n"


def test_a_kernel_that_is_shared_is_left_alone(based: Target) -> None:
    assert Path("/proc/sys/vm/swappiness").read_text() != "10\n", "else this shows nothing"
    assert based.sh("cat /etc/sysctl.d/60-maia-base.conf").count("vm.swappiness = 10\n") == 1
    assert based.sh("systemctl start maia-swap; systemctl is-active maia-swap || true") == "inactive\n"
    assert based.sh("[ -e /var/swapfile ] || echo none") == "none\n"


def test_the_role_again_changes_nothing(based: Target) -> None:
    assert based.apply("base", **SETTINGS) == []
    assert based.apply("base", check=True, **SETTINGS) == []


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"base_timezone": "Europe/Viena"}, "there is no time zone Europe/Viena"),
        ({"base_hostname": "no name"}, "base_hostname no name is no name of a host"),
    ],
)
def test_settings_that_cannot_be_are_refused(based: Target, setting: dict[str, str], said: str) -> None:
    before = based.sh("readlink /etc/localtime; cat /etc/hostname /etc/default/locale")
    with pytest.raises(MaiaError, match=said):
        based.apply("base", **{**SETTINGS, **setting})
    assert based.sh("readlink /etc/localtime; cat /etc/hostname /etc/default/locale") == before


def test_what_was_written_can_be_removed(based: Target) -> None:
    assert based.sh(FILES).splitlines() == WRITTEN
    assert based.apply("base", entry="remove")
    assert based.sh(FILES) == ""
    assert based.sh("hostname --fqdn") == "ledger.clinic.example\n", "a host has a name"
    assert based.apply("base", entry="remove") == []


def test_an_image_takes_the_defaults(image: Target) -> None:
    assert image.apply("base", check=True)
    assert image.apply("base")
    assert image.sh(FILES).splitlines() == [each for each in WRITTEN if "swap" not in each]
    assert image.sh("date +%Z; cat /etc/default/locale | grep -v '#'") == "UTC\nLANG=C.UTF-8\n"
    assert image.sh("systemctl is-enabled systemd-timesyncd") == "enabled\n"
    assert image.apply("base") == []


@pytest.mark.long
def test_debian_12_takes_it_too(tmp_path: Path) -> None:
    lab = Lab(Site(tmp_path / "site"), docker.from_env())
    try:
        older = Target(lab.up("role-base-12", quiet, release="12"))
        assert older.apply("base", **SETTINGS)
        assert isinstance(older.on, Server)
        said = older.on.run("sh", "-c", "date --date=2026-01-01T12:00:00Z +%Z; echo $LANG").stdout
        assert said == "CET\nde_AT.UTF-8\n"
        assert older.apply("base", **SETTINGS) == []
    finally:
        lab.down(quiet)
