"""Test hosts as servers: reached by key alone, given Docker by its role, and gone without a trace."""

from __future__ import annotations

import dataclasses
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from infra import cli, converge, ssh
from infra.errors import MaiaError
from infra.lab import Lab
from infra.lab.hosts import PREFIX
from infra.site import REPO, Site
from tests.system.mutations import until

Capture = pytest.CaptureFixture[str]

VOLATILE = {"kernel/ns_last_pid"}


def quiet(text: str) -> None:
    """For what reports progress."""


@pytest.fixture(scope="module")
def kernel() -> dict[str, str]:
    """The settings that the kernel has but once, before the first host starts."""
    return _kernel()


@pytest.fixture(scope="module")
def lab(kernel: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    made = Lab(Site(tmp_path_factory.mktemp("lab") / "site"), docker.from_env())
    yield made
    made.down(quiet)


@pytest.fixture(scope="module")
def server(lab: Lab) -> ssh.Server:
    """A bare Debian 13."""
    return lab.up("test13", quiet)


def _kernel() -> dict[str, str]:
    root = Path("/proc/sys")
    found = {}
    for path in (path for folder in ("fs", "kernel", "vm") for path in (root / folder).rglob("*") if path.is_file()):
        name = str(path.relative_to(root))
        if path.stat().st_mode & 0o200 and name not in VOLATILE:
            try:
                found[name] = path.read_text()
            except OSError:
                continue
    return found


def _left(lab: Lab, name: str) -> list[str]:
    client = docker.from_env()
    mine: dict[str, str | list[str] | bool] = {"name": PREFIX + name}
    return [
        *(str(each.name) for each in client.containers.list(all=True, filters=mine)),
        *(str(each.name) for each in client.volumes.list(filters=mine)),
        *(str(path) for path in lab.home.glob(f"{name}.*")),
    ]


def _converge(server: ssh.Server, *, check: bool = False) -> int:
    return converge.role("docker", {}, quiet, server=server, check=check)


def _await_started(server: ssh.Server) -> None:
    """Every unit was started, and none failed."""
    until(lambda: server.run("systemctl", "is-system-running").stdout == "running\n", "the host runs")


def _docker(server: ssh.Server) -> str:
    return server.run("sudo", "docker", "version", "--format", "{{.Server.Version}}").stdout.strip()


def test_a_host_is_debian_with_systemd_as_an_installer_leaves_it(server: ssh.Server) -> None:
    _await_started(server)
    assert 'VERSION_ID="13"' in server.run("cat", "/etc/os-release").stdout
    assert server.run("sh", "-c", "command -v docker dockerd git").stdout == ""
    assert server.run("sudo", "id", "-u").stdout == "0\n"
    assert set(server.run("sudo", "ls", "-A", "/root").stdout.split()) <= {".bashrc", ".config", ".profile", ".ssh"}


def test_a_host_lets_in_one_key_of_one_user_and_no_password(server: ssh.Server, lab: Lab, tmp_path: Path) -> None:
    assert server.key.stat().st_mode & 0o777 == 0o600
    assert lab.home.stat().st_mode & 0o777 == 0o700
    stranger = tmp_path / "key"
    ssh.ensure_key(stranger)
    for refused in (dataclasses.replace(server, key=stranger), dataclasses.replace(server, user="root")):
        said = refused.run("true")
        assert said.returncode == 255
        assert "Permission denied (publickey)" in said.stderr


def test_a_host_with_another_key_than_the_pinned_one_is_not_spoken_to(server: ssh.Server, tmp_path: Path) -> None:
    _, line = ssh.generate()
    known = tmp_path / "known"
    known.write_text(f"{server.name} {line}\n")
    said = dataclasses.replace(server, known=known).run("true")
    assert said.returncode == 255
    assert "Host key verification failed" in said.stderr


def test_up_again_finds_the_host_as_it_is(server: ssh.Server, lab: Lab) -> None:
    server.run("touch", "mark")
    assert lab.up("test13", quiet) == server
    assert server.run("ls").stdout == "mark\n"
    with pytest.raises(MaiaError, match=r"is Debian 13 with systemd already \(maia lab down test13"):
        lab.up("test13", quiet, release="12")


def test_another_site_keeps_off_a_host_of_the_same_name(server: ssh.Server, tmp_path: Path) -> None:
    stranger = Lab(Site(tmp_path / "site"), docker.from_env())
    with pytest.raises(MaiaError, match="the name is taken by"):
        stranger.up("test13", quiet)
    assert stranger.down(quiet) == []
    assert stranger.hosts() == []
    assert server.run("true").returncode == 0


def test_the_role_brings_docker_to_a_bare_host_and_then_changes_nothing(server: ssh.Server, lab: Lab) -> None:
    assert _converge(server, check=True) > 0
    assert server.run("test", "-e", "/usr/sbin/dockerd").returncode == 1, "only looked"
    assert _converge(server) > 0
    assert _docker(server).startswith("26.1.")
    assert server.run("systemctl", "is-enabled", "docker").stdout == "enabled\n"
    assert _converge(server) == 0
    assert _converge(server, check=True) == 0


def test_a_host_that_does_not_let_us_in_is_told_in_one_line(server: ssh.Server, tmp_path: Path) -> None:
    stranger = tmp_path / "key"
    ssh.ensure_key(stranger)
    with pytest.raises(MaiaError, match=rf"^role docker on {server.name}: .*Permission denied \(publickey\)"):
        _converge(dataclasses.replace(server, key=stranger))


def test_docker_is_back_after_a_restart_of_the_host(server: ssh.Server, lab: Lab) -> None:
    docker.from_env().containers.get(server.name).restart()
    again = lab.up("test13", quiet)
    _await_started(again)
    assert _docker(again).startswith("26.1.")


def test_a_docker_in_the_host_has_layers_and_keeps_its_limits(lab: Lab) -> None:
    server = lab.server("test13")
    assert server.run("sudo", "docker", "info", "--format", "{{.Driver}}").stdout == "overlay2\n"
    needs = "$(ldd /usr/bin/cat | grep -o '/[^ ]*')"
    script = f"sudo tar -C / -ch /usr/bin/cat {needs} | sudo docker import - cat"
    assert server.run("sh", "-c", script).returncode == 0
    limits = [f"/sys/fs/cgroup/{name}" for name in ("memory/memory.limit_in_bytes", "memory.max")]  # by version
    said = server.run("sudo", "docker", "run", "--rm", "--memory=64m", "cat", "/usr/bin/cat", *limits)
    assert str(64 * 2**20) in said.stdout, said.stderr


def test_what_the_kernel_has_but_once_is_as_it_was_found(kernel: dict[str, str], server: ssh.Server) -> None:
    assert server.run("sudo", "sysctl", "-w", "kernel.panic=7").returncode != 0
    assert _kernel() == kernel


def test_up_that_was_killed_goes_on(lab: Lab) -> None:
    environment = os.environ | {"MAIA_SITE": str(lab.home.parent)}
    for word in ("making it", "starting", "waiting for ssh"):
        command = [str(REPO / "maia"), "lab", "up", "killed"]
        with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr
            next(line for line in process.stderr if word in line)
            process.send_signal(signal.SIGKILL)
        assert lab.up("killed", quiet).run("true").returncode == 0
        lab.down(quiet, ["killed"])
        assert _left(lab, "killed") == []


def test_the_command_makes_lists_enters_and_removes(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MAIA_SITE", str(lab.home.parent))
    assert cli.main(["lab", "up", "named", "--debian", "13", "--no-systemd"]) == 0
    assert re.search(r"^named +13 +- +shared +running +[0-9.]+ *$", capfd.readouterr().out, re.MULTILINE)
    assert cli.main(["lab", "ssh", "named", "cat", "/proc/1/comm"]) == 0
    assert capfd.readouterr().out == "sshd\n"
    assert cli.main(["lab", "down", "named"]) == 0
    assert capfd.readouterr().out == "removed: named\n"
    assert cli.main(["lab", "ssh", "named"]) == 1
    assert "there is no lab host 'named' (maia lab up named)" in capfd.readouterr().err


@pytest.mark.long
@pytest.mark.parametrize(
    ("release", "systemd", "version"), [("12", True, "20.10."), ("12", False, "20.10."), ("13", False, "26.1.")]
)
def test_the_role_brings_docker_to_other_hosts_too(lab: Lab, release: str, systemd: bool, version: str) -> None:
    name = f"other{release}{'s' if systemd else ''}"
    server = lab.up(name, quiet, release=release, systemd=systemd)
    assert _converge(server, check=True) > 0
    assert _converge(server) > 0
    assert _docker(server).startswith(version)
    assert _converge(server) == 0
    assert _converge(server, check=True) == 0
    docker.from_env().containers.get(server.name).restart()
    server = lab.up(name, quiet, release=release, systemd=systemd)
    if systemd:
        _await_started(server)
    else:
        assert _docker(server) == ""
        assert _converge(server) > 0, "nothing else starts it there"
    assert _docker(server).startswith(version)


def test_down_leaves_nothing(lab: Lab) -> None:
    lab.up("test13", quiet)
    lab.down(quiet)
    assert _left(lab, "test13") == []
    assert lab.hosts() == []
    assert not lab.home.exists()
    assert [each.name for each in docker.from_env().networks.list(names=[lab.network])] == []
