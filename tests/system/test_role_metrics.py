"""The role metrics: what a scrape is told of a host, by whom, and where nobody is told anything."""

from __future__ import annotations

import re
from pathlib import Path

import docker
import httpx
import pytest

from infra.lab import Lab
from infra.site import Site
from infra.ssh import Server
from tests.roles import Target, quiet
from tests.system.mutations import until

FILES = "find /etc /usr/local /var/lib/maia -name '*maia*' | sort"
WRITTEN = [
    "/etc/systemd/system/maia-metrics.service",
    "/etc/systemd/system/maia-metrics.timer",
    "/etc/systemd/system/prometheus-node-exporter.service.d/60-maia.conf",
    "/etc/systemd/system/timers.target.wants/maia-metrics.timer",
    "/usr/local/sbin/maia-metrics",
    "/var/lib/maia",
]
SCRAPE = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:9100/metrics', timeout=10).read().decode())"


def _scraped(host: Target) -> dict[str, float]:
    lines = host.sh(f'python3 -c "{SCRAPE}"').splitlines()
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if line and line[0] != "#"}


def _listens(host: Target) -> bool:
    return "127.0.0.1:9100" in host.sh("ss --no-header --listening --tcp --numeric")


def _answers(host: Target) -> bool:
    assert isinstance(host.on, Server)
    try:
        return httpx.get(f"http://{host.on.address}:9100/metrics", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def measured(host: Target) -> Target:
    assert host.apply("metrics", check=True)
    assert host.sh("find /etc /usr/local -name '*maia*'; ls /var/lib | grep maia || true") == "", "only looked"
    assert host.apply("metrics")
    until(lambda: "host.prom" in host.sh("ls /var/lib/maia/metrics"), "the host was looked at")
    return host


def test_a_scrape_is_told_of_the_host_and_of_what_only_root_finds(measured: Target) -> None:
    found = _scraped(measured)
    assert found["node_memory_MemTotal_bytes"] > 0
    pending = int(measured.sh("apt-get --simulate dist-upgrade | grep -c '^Inst ' || true"))
    assert sum(found[f'maia_apt_upgrades_pending{{origin="{each}"}}'] for each in ("security", "other")) == pending
    assert found["maia_reboot_wanted"] == 0
    assert found["maia_roles_run_timestamp_seconds"] == int(measured.sh("stat --format=%Y /var/lib/maia/roles"))
    assert found["node_textfile_scrape_error"] == 0


def test_what_changes_on_the_host_changes_what_is_told(measured: Target) -> None:
    measured.sh("touch /run/reboot-required; systemctl start maia-metrics")
    assert _scraped(measured)["maia_reboot_wanted"] == 1
    measured.sh("rm /run/reboot-required; systemctl start maia-metrics")
    assert _scraped(measured)["maia_reboot_wanted"] == 0
    assert "maia-metrics.service" in measured.sh("systemctl list-timers maia-metrics.timer")


def test_only_the_host_itself_is_told(measured: Target) -> None:
    assert not _answers(measured)
    measured.sh("sed -i s/127.0.0.1:9100/0.0.0.0:9100/ " + WRITTEN[2])
    measured.sh("systemctl daemon-reload; systemctl restart prometheus-node-exporter")
    until(lambda: _answers(measured), "it answers where the setting says, or this shows nothing")
    assert measured.apply("metrics"), "another setting does not stay"
    assert not _answers(measured)
    until(lambda: _listens(measured), "it answers on the host")


def test_who_tells_is_nobody_of_power(measured: Target) -> None:
    assert set(measured.sh("ps -o user= -C prometheus-node-exporter").split()) <= {"prometheus", "prometh+"}
    pid = measured.sh("systemctl show --value --property=MainPID prometheus-node-exporter").strip()
    status = dict(line.split(":", 1) for line in measured.sh(f"cat /proc/{pid}/status").splitlines())
    assert [int(status[each], 16) for each in ("CapEff", "CapBnd", "CapInh", "CapAmb")] == [0, 0, 0, 0]
    assert status["NoNewPrivs"].strip() == "1"
    assert status["Seccomp"].strip() == "2"
    enter = f"nsenter --target {pid} --mount setpriv --reuid prometheus --clear-groups"
    for folder in ("/etc", "/var/lib/maia/metrics", "/home", "/var/lib/prometheus"):
        assert "Read-only" in measured.sh(f"{enter} touch {folder}/mark 2>&1 || true")
    said = measured.sh("systemd-analyze security --no-pager prometheus-node-exporter | tail -1")
    level = re.search(r"exposure level for .*: ([0-9.]+)", said)
    assert level and float(level[1]) < 2.5, said


def test_killed_it_comes_back(measured: Target) -> None:
    before = measured.sh("systemctl show --property=MainPID prometheus-node-exporter")
    until(lambda: _listens(measured), "it answers")
    measured.sh("systemctl kill --signal=KILL prometheus-node-exporter")
    until(
        lambda: (
            measured.sh("systemctl is-active prometheus-node-exporter || true") == "active\n"
            and measured.sh("systemctl show --property=MainPID prometheus-node-exporter") != before
        ),
        "it is back",
    )


def test_the_role_again_changes_nothing_and_notes_the_run(measured: Target) -> None:
    measured.sh("touch --date=2020-01-01 /var/lib/maia/roles")
    assert measured.apply("metrics", check=True) == []
    assert measured.sh("date --reference=/var/lib/maia/roles +%Y") == "2020\n"
    assert measured.apply("metrics") == []
    assert measured.sh("date --reference=/var/lib/maia/roles +%Y") != "2020\n"


def test_what_was_written_can_be_removed(measured: Target) -> None:
    assert measured.sh(FILES).splitlines() == WRITTEN
    assert measured.apply("metrics", entry="remove")
    assert measured.sh(FILES) == "/var/lib/maia\n"
    assert measured.sh("systemctl is-active prometheus-node-exporter || true") == "inactive\n", "else it told everybody"
    assert measured.apply("metrics", entry="remove") == []


def test_an_image_gets_the_same(image: Target) -> None:
    assert image.apply("metrics", check=True)
    assert image.apply("metrics")
    assert image.sh(FILES).splitlines() == WRITTEN
    assert image.sh("systemctl is-enabled prometheus-node-exporter maia-metrics.timer") == "enabled\nenabled\n"
    assert image.apply("metrics") == []


@pytest.mark.long
def test_debian_12_takes_it_too(tmp_path: Path) -> None:
    lab = Lab(Site(tmp_path / "site"), docker.from_env())
    try:
        older = Target(lab.up("role-metrics-12", quiet, release="12"))
        assert older.apply("metrics")
        assert older.apply("metrics") == []
        until(lambda: _listens(older) and "maia_reboot_wanted" in _scraped(older), "it answers")
    finally:
        lab.down(quiet)
