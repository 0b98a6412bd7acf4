"""Files of the system, compared with what they were: what packages did is told from what nobody can explain."""

from __future__ import annotations

from pathlib import Path

import docker
import pytest

from infra.errors import MaiaError
from infra.lab import Lab
from infra.site import Site
from infra.ssh import Server
from tests.roles import Target, quiet
from tests.system.mutations import until

STATE = "/var/lib/aide/aide.db"
FILES = "find /etc /usr/local -name '*maia*' -o -name aide.conf | sort"
METRICS = "/var/lib/maia/metrics"


@pytest.fixture(scope="module")
def watched(host: Target) -> Target:
    before = host.sh(FILES)
    assert host.apply("integrity", check=True)
    assert host.sh(FILES) == before, "only looked"
    assert "integrity : Take the first state for what is to be" in host.apply("integrity")
    return host


def compared(host: Target) -> tuple[int, set[str]]:
    """How a comparison ended, and what it said."""
    assert isinstance(host.on, Server)
    done = host.on.run("sudo", "maia-integrity")
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, {*done.stdout.splitlines()[:-1]}


def test_a_second_time_nothing_changes_and_nothing_differs(watched: Target) -> None:
    assert watched.apply("integrity") == []
    assert watched.apply("integrity", check=True) == []
    assert compared(watched) == (0, set())
    assert watched.sh(f"stat --format=%a {STATE}") == "600\n"


def test_what_nobody_can_explain_is_said_until_a_person_accepts_it(watched: Target) -> None:
    watched.sh(
        f"mkdir -p {METRICS}; echo word >>/etc/hosts; echo x >/usr/bin/odd; chmod u+s /usr/bin/true;"
        "mv /usr/bin/nproc /root/; printf x >>/usr/bin/tty; echo y >/opt/odd"
    )
    failed, said = compared(watched)
    assert failed
    assert said == {
        "not explained: added /opt/odd",
        "not explained: added /root/nproc",
        "not explained: added /usr/bin/odd",
        "not explained: removed /usr/bin/nproc",
        "not explained: changed /etc/hosts sha512",
        "not explained: changed /usr/bin/true perm",
        "not explained: changed /usr/bin/tty sha512",
        "not its package's: /usr/bin/tty",
    }
    assert 'maia_integrity_differences{kind="unexplained"} 7' in watched.sh(f"cat {METRICS}/integrity.prom")
    assert watched.apply("integrity") == [], "no role accepts them"
    assert compared(watched) == (failed, said)
    watched.sh("apt-get -qq install --reinstall coreutils >/dev/null; rm /usr/bin/odd /opt/odd /root/nproc")
    assert compared(watched) == (1, {"not explained: changed /etc/hosts sha512"})
    watched.sh("maia-integrity accept")
    assert compared(watched) == (0, set())
    assert 'maia_integrity_differences{kind="unexplained"} 0' in watched.sh(f"cat {METRICS}/integrity.prom")
    assert "deploy accepted 1 differences" in watched.sh("journalctl --quiet --grep='accepted 1' --output=cat")


def test_what_a_package_did_is_told_apart_and_is_no_failure(watched: Target) -> None:
    watched.sh("apt-get -qq install wget >/dev/null")
    failed, said = compared(watched)
    assert not failed
    assert all(line.startswith("by a package: ") for line in said)
    assert {"by a package: added /etc/wgetrc", "by a package: added /usr/bin/wget"} <= said
    watched.sh("maia-integrity accept; echo '# changed' >>/etc/wgetrc")
    assert compared(watched) == (1, {"not explained: changed /etc/wgetrc sha512"})
    watched.sh("maia-integrity accept; apt-get -qq purge wget >/dev/null")
    failed, said = compared(watched)
    assert failed, "settings that were changed here are not any more"
    assert {line for line in said if not line.startswith("by a package: ")} == {"not explained: removed /etc/wgetrc"}
    watched.sh("maia-integrity accept")


def test_it_is_compared_each_day_and_a_difference_is_a_unit_that_failed(watched: Target) -> None:
    said = watched.sh("systemctl is-enabled maia-integrity.timer; systemctl is-active maia-integrity.timer")
    assert said.split() == ["enabled", "active"]
    watched.sh("systemctl start maia-integrity.service; echo late >>/etc/hosts")
    watched.sh("systemctl start --no-block maia-integrity.service")
    state = "systemctl show --value --property=ActiveState maia-integrity.service"
    until(lambda: watched.sh(state) == "failed\n", "it has found what differs")
    said = watched.sh("journalctl --quiet --unit=maia-integrity --output=cat")
    assert "not explained: changed /etc/hosts sha512" in said


def test_paths_can_be_left_out_and_a_time_that_is_none_is_refused(watched: Target) -> None:
    assert watched.apply("integrity", integrity_left_out=["/etc/hosts$"]) == [
        "integrity : Say what of which files must stay"
    ]
    assert compared(watched)[1] == {"not explained: changed /etc/aide/aide.conf sha512"} | {
        "not explained: removed /etc/hosts"
    }
    with pytest.raises(MaiaError, match="Refuse a time that is none"):
        watched.apply("integrity", integrity_at="sometime")


def test_removed_it_leaves_the_packages_alone(watched: Target) -> None:
    assert watched.apply("integrity", entry="remove")
    assert watched.sh(f"{FILES}; find {STATE}* {METRICS} -type f 2>/dev/null || true") == ""
    assert watched.sh("ls /usr/bin/aide /usr/bin/debsums") == "/usr/bin/aide\n/usr/bin/debsums\n"
    assert watched.apply("integrity", entry="remove") == []


def test_an_image_is_compared_with_what_its_first_start_finds(image: Target) -> None:
    assert image.apply("integrity", check=True)
    assert image.apply("integrity")
    assert image.apply("integrity") == []
    assert "maia-integrity.timer" in image.sh(f"ls {STATE} 2>/dev/null || ls /etc/systemd/system/timers.target.wants")
    assert image.apply("integrity", entry="remove")
    assert image.apply("integrity", entry="remove") == []


@pytest.mark.long
def test_debian_12_is_compared_too(tmp_path: Path) -> None:
    lab = Lab(Site(tmp_path / "site"), docker.from_env())
    older = Target(lab.up("role-integrity-12", quiet, release="12"))
    assert older.apply("integrity")
    assert older.apply("integrity") == []
    assert compared(older) == (0, set())
    older.sh("echo x >/usr/bin/odd; apt-get -qq install hostname --reinstall >/dev/null")
    assert compared(older) == (1, {"not explained: added /usr/bin/odd"})
    assert older.apply("integrity", entry="remove")
    lab.down(quiet)
