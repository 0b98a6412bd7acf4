"""Docker hardened on a server of one's own: what its daemon keeps from containers and from other users."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import docker
import pytest

from infra.errors import MaiaError
from infra.lab import Lab
from infra.site import Site
from tests.roles import Target, quiet

HARD: dict[str, Any] = {"docker_hardened": True}
SETTINGS = "/etc/docker/daemon.json"
MARK = "/etc/systemd/system/docker.service.d/60-maia.conf"
IMAGE = """
tar -C / -ch /usr/bin/cat /usr/bin/sleep /usr/bin/sh $(ldd /usr/bin/cat /usr/bin/sh | grep -o '/lib[^ ]*' | sort -u) |
docker import - tools >/dev/null
"""


def info(host: Target) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(host.sh("docker info --format '{{json .}}'"))
    return found


def bridge(host: Target) -> dict[str, str]:
    """Options of the network that containers are in which name none."""
    found: dict[str, str] = json.loads(host.sh("docker network inspect bridge --format '{{json .Options}}'"))
    return found


def refused(host: Target, script: str) -> bool:
    """Whether a command of the user that is nobody's fails there."""
    return host.sh(f"runuser -u nobody -- sh -c '{script}' >/dev/null 2>&1 && echo let || echo refused") == "refused\n"


def test_without_being_asked_it_changes_no_setting(host: Target) -> None:
    assert host.apply("docker")
    assert host.sh(f"ls {SETTINGS} {MARK} 2>/dev/null || true") == ""
    assert host.apply("docker") == []
    host.sh(IMAGE + "docker run --detach --name before --publish 127.0.0.1:8081:80 tools /usr/bin/sleep infinity")
    host.sh("useradd stranger && usermod --append --groups docker stranger")


def test_looking_says_what_hardening_would_change_and_changes_nothing(host: Target) -> None:
    assert "docker : Write the daemon's settings" in host.apply("docker", check=True, **HARD)
    assert host.sh(f"ls {SETTINGS} {MARK} 2>/dev/null || true") == ""


def test_hardening_restarts_the_daemon_and_ends_no_container(host: Target) -> None:
    look = "docker inspect --format '{{.State.StartedAt}}' before"
    daemon = "systemctl show --property MainPID docker"
    before, process = host.sh(look), host.sh(daemon)
    assert host.apply("docker", **HARD)
    assert host.sh(look) == before
    assert host.sh(daemon) != process
    assert host.sh("docker inspect --format '{{.State.Running}}' before") == "true\n"


def test_a_second_time_nothing_changes_and_the_daemon_runs_on(host: Target) -> None:
    process = host.sh("systemctl show --property MainPID docker")
    assert host.apply("docker", **HARD) == []
    assert host.apply("docker", check=True, **HARD) == []
    assert host.sh("systemctl show --property MainPID docker") == process


def test_the_daemon_is_as_it_was_asked_to_be(host: Target) -> None:
    found = info(host)
    assert found["LiveRestoreEnabled"] is True
    assert found["ExperimentalBuild"] is False
    assert "name=no-new-privileges" in found["SecurityOptions"]
    assert host.sh("systemctl show --property LimitCORE docker") == "LimitCORE=0\n"
    assert "/var/lib/docker" in host.sh("systemctl show --property RequiresMountsFor docker")


def test_a_container_cannot_gain_privileges_or_open_files_without_end(host: Target) -> None:
    said = host.sh("docker run --rm tools /usr/bin/cat /proc/self/status /proc/self/limits")
    assert "NoNewPrivs:\t1" in said
    assert [line.split()[3:5] for line in said.splitlines() if line.startswith("Max open files")] == [["16384"] * 2]


def test_a_published_port_needs_no_process_of_its_own(host: Target) -> None:
    host.sh("docker run --detach --name after --publish 127.0.0.1:8082:80 tools /usr/bin/sleep infinity")
    assert host.sh("pgrep -c docker-proxy || true") == "0\n"
    assert "dport 8082" in host.sh("iptables-save -t nat").replace("--dport", "dport")


def test_logs_are_rotated(host: Target) -> None:
    assert json.loads(host.sh("docker inspect --format '{{json .HostConfig.LogConfig}}' after")) == {
        "Type": "json-file",
        "Config": {"max-file": "3", "max-size": "10m"},
    }


def test_nobody_but_those_named_uses_the_daemon(host: Target) -> None:
    assert host.sh("getent group docker").endswith(":\n")
    assert "permission denied" in host.sh("runuser -u stranger -- docker ps 2>&1 || true")
    assert host.apply("docker", **HARD, docker_members=["deploy"]) == ["docker : Have nobody else in its group"]
    assert host.sh("runuser -u deploy -- docker ps --quiet | wc -l") == "2\n"
    assert host.sh("stat --format '%a %U %G' /run/docker.sock /run/containerd/containerd.sock") == (
        "660 root docker\n660 root root\n"
    )
    for socket in ("/run/docker.sock", "/run/containerd/containerd.sock"):
        assert refused(host, f"test -r {socket} -o -w {socket}")


def test_settings_that_the_daemon_would_refuse_never_reach_it(host: Target) -> None:
    before = host.sh(f"cat {SETTINGS}")
    with pytest.raises(MaiaError, match="Invalid user/group specification"):
        host.apply("docker", **HARD, docker_userns="a:b:c:d")
    assert host.sh(f"cat {SETTINGS}") == before
    assert host.sh("docker ps --quiet | wc -l") == "2\n"


def test_containers_of_the_default_bridge_do_not_reach_each_other_once_it_is_made_anew(host: Target) -> None:
    host.sh("docker rm --force before after && systemctl restart docker")
    assert bridge(host)["com.docker.network.bridge.enable_icc"] == "false"


def test_removing_it_puts_the_daemon_back_and_leaves_it_running(host: Target) -> None:
    assert host.apply("docker", entry="remove")
    assert host.sh(f"ls {SETTINGS} {MARK} 2>/dev/null || true") == ""
    assert info(host)["LiveRestoreEnabled"] is False
    assert host.apply("docker", entry="remove") == []


def test_settings_that_were_there_before_come_back(host: Target) -> None:
    host.sh(f"""echo '{{"log-level": "warn"}}' >{SETTINGS}""")
    host.apply("docker", **HARD)
    assert "warn" not in host.sh(f"cat {SETTINGS}")
    assert host.apply("docker", **HARD) == []
    host.apply("docker", entry="remove")
    assert host.sh(f"cat {SETTINGS}") == '{"log-level": "warn"}\n'
    assert host.sh("ls /etc/docker") == "daemon.json\n"


def test_an_image_gets_it_enabled_and_hardened_and_nothing_is_started(image: Target) -> None:
    assert image.apply("docker", **HARD)
    assert image.apply("docker", **HARD) == []
    assert image.apply("docker", check=True, **HARD) == []
    assert json.loads(image.sh(f"cat {SETTINGS}"))["live-restore"] is True
    assert image.sh("ls /etc/systemd/system/multi-user.target.wants/docker.service")
    assert image.sh("dockerd --validate --config-file /etc/docker/daemon.json 2>&1") == "configuration OK\n"
    assert image.apply("docker", entry="remove")
    assert image.sh(f"ls {SETTINGS} {MARK} 2>/dev/null || true") == ""


@pytest.fixture
def older(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A bare Debian 12."""
    lab = Lab(Site(tmp_path_factory.mktemp("older") / "site"), docker.from_env())
    yield Target(lab.up("role-docker-older", quiet, release="12"))
    lab.down(quiet)


@pytest.mark.long
def test_docker_of_debian_12_is_hardened_too(older: Target) -> None:
    assert older.apply("docker", check=True, **HARD)
    assert older.apply("docker", **HARD)
    assert older.apply("docker", **HARD) == []
    assert older.apply("docker", check=True, **HARD) == []
    assert info(older)["LiveRestoreEnabled"] is True
    assert bridge(older)["com.docker.network.bridge.enable_icc"] == "false"
    older.sh(IMAGE)
    assert "NoNewPrivs:\t1" in older.sh("docker run --rm tools /usr/bin/cat /proc/self/status")
    assert older.apply("docker", entry="remove")
    assert info(older)["LiveRestoreEnabled"] is False
