"""The role ssh, as somebody outside meets the server; and a configuration that locks out is not kept."""

from __future__ import annotations

import dataclasses
import re
import subprocess
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

LOCKING_OUT: dict[str, Any] = {"ssh_key_types": ["rsa-sha2-512"]}
"""The key of the test hosts is an Ed25519 one."""
PATIENCE = 40


@pytest.fixture(scope="module")
def server(host: Target) -> Server:
    assert isinstance(host.on, Server)
    return host.on


@pytest.fixture(scope="module")
def secured(host: Target) -> Target:
    host.sh("ssh-keygen -q -t rsa -b 2048 -N '' -f /etc/ssh/ssh_host_rsa_key; ls /etc/ssh >/srv/before")
    host.sh("printf 'PasswordAuthentication yes\\n' >/etc/ssh/sshd_config.d/50-cloud-init.conf")
    assert host.apply("ssh", check=True)
    assert host.sh("ls /etc/ssh | diff /srv/before -") == "", "only looked"
    assert host.apply("ssh")
    return host


def _offered(server: Server, *options: str) -> subprocess.CompletedProcess[str]:
    """What the server says to a client with these settings, which come before ours."""
    words = server.command("true")
    return subprocess.run(
        [words[0], "-v", *(f"-o{each}" for each in ("LogLevel=DEBUG1", *options)), *words[1:]],
        stdin=subprocess.DEVNULL, text=True, capture_output=True,
    )  # fmt: skip


def _heard(server: Server) -> subprocess.CompletedProcess[str]:
    """What comes of a login, once the server hears this address: for a while it does not, who failed too often."""
    said: list[subprocess.CompletedProcess[str]] = []

    def heard() -> bool:
        said.append(server.run("id", "-un"))
        return said[-1].returncode == 0 or "Permission denied" in said[-1].stderr

    until(heard, "an answer to the login", PATIENCE)
    return said[-1]


def _effective(host: Target) -> dict[str, str]:
    lines = host.sh("sshd -T").splitlines()
    return {line.split(" ", 1)[0]: line.split(" ", 1)[1] for line in lines if " " in line}


def test_who_carries_it_out_still_gets_in_and_no_return_is_pending(secured: Target, server: Server) -> None:
    assert server.run("sudo", "true").returncode == 0
    assert secured.sh("systemctl list-units --all --quiet 'maia-ssh-undo*'") == ""


def test_only_keys_are_asked_for_whatever_another_file_says(secured: Target, server: Server) -> None:
    said = _offered(server, "PreferredAuthentications=password,keyboard-interactive", "PubkeyAuthentication=no")
    assert said.returncode == 255
    assert set(re.findall(r"Authentications that can continue: (.*)", said.stderr)) == {"publickey"}


def test_root_and_who_is_in_no_group_stay_out(secured: Target, server: Server) -> None:
    key = server.key.with_suffix(".pub").read_text()
    secured.sh("useradd --create-home --shell /bin/bash visitor; groupadd maia-admins")
    secured.sh("sed -i /AllowUsers/d /etc/ssh/sshd_config.d/lab.conf; systemctl reload ssh")
    for home, user in (("/root", "root"), ("/home/visitor", "visitor")):
        secured.sh(f"install -d -m 700 -o {user} {home}/.ssh; echo '{key}' >{home}/.ssh/authorized_keys")
        assert "Permission denied (publickey)" in _heard(dataclasses.replace(server, user=user)).stderr
    secured.sh("usermod --append --groups maia-admins visitor")
    assert _heard(dataclasses.replace(server, user="visitor")).stdout == "visitor\n"


@pytest.mark.parametrize(
    "weak",
    [
        "KexAlgorithms=diffie-hellman-group14-sha256,diffie-hellman-group-exchange-sha256,ecdh-sha2-nistp256",
        "Ciphers=aes128-cbc,aes256-cbc,3des-cbc,chacha20-poly1305@openssh.com",
        "MACs=hmac-sha1,hmac-sha2-256,umac-64-etm@openssh.com",
        "HostKeyAlgorithms=ecdsa-sha2-nistp256,ssh-rsa",
        "PubkeyAcceptedAlgorithms=ecdsa-sha2-nistp256,ssh-rsa",
    ],
)
def test_what_is_weak_or_old_is_not_agreed_on(secured: Target, server: Server, weak: str) -> None:
    options = ["Ciphers=aes256-ctr", weak] if weak.startswith("MACs") else [weak]
    said = _offered(server, *options)
    assert said.returncode == 255
    assert re.search(r"no matching|no mutual|Permission denied", said.stderr), said.stderr[-500:]


def test_keys_are_agreed_on_so_that_a_quantum_computer_does_not_help(secured: Target, server: Server) -> None:
    assert "kex: algorithm: sntrup761x25519-sha512" in _offered(server).stderr
    assert _effective(secured)["kexalgorithms"].startswith("mlkem768x25519-sha256,")


def test_the_host_is_known_by_an_ed25519_key_and_a_long_rsa_key_alone(secured: Target, server: Server) -> None:
    said = subprocess.run(["ssh-keyscan", server.address], text=True, capture_output=True).stdout
    assert sorted(line.split()[1] for line in said.splitlines() if line[0] != "#") == ["ssh-ed25519", "ssh-rsa"]
    assert secured.sh("ssh-keygen -lf /etc/ssh/ssh_host_rsa_key").startswith("3072 ")
    assert secured.sh("find /etc/ssh -perm /077 -name 'ssh_host_*_key'") == ""


def test_weak_moduli_are_left_out_and_debians_file_stays(secured: Target) -> None:
    shortest = "awk '$1 ~ /^[0-9]/ {print $5}' %s | sort -n | head -1"
    assert _effective(secured)["modulifile"] == "/etc/ssh/maia-moduli"
    assert int(secured.sh(shortest % "/etc/ssh/maia-moduli")) >= 3071
    assert int(secured.sh(shortest % "/etc/ssh/moduli")) < 3071, "a changed one would hold back an update"


def test_nothing_is_forwarded(secured: Target, server: Server) -> None:
    words = server.command("true")
    through = subprocess.run(
        [words[0], "-W", "127.0.0.1:22", *words[1:-2]], stdin=subprocess.DEVNULL, text=True, capture_output=True
    )
    assert through.returncode == 255
    assert "administratively prohibited" in through.stderr or "stdio forwarding failed" in through.stderr
    effective = _effective(secured)
    assert effective["disableforwarding"] == "yes"


def test_the_banner_is_said_and_the_version_of_debian_is_not(secured: Target, server: Server) -> None:
    said = _offered(server).stderr
    assert "What is done here is recorded." in said
    assert re.search(r"remote software version OpenSSH_\S+$", said, re.MULTILINE)


def test_limits_are_those_that_the_benchmarks_ask_for(secured: Target) -> None:
    wanted = {
        "maxauthtries": "3",
        "logingracetime": "30",
        "maxsessions": "10",
        "maxstartups": "10:30:60",
        "clientaliveinterval": "60",
        "clientalivecountmax": "2",
        "permitemptypasswords": "no",
        "permituserenvironment": "no",
        "hostbasedauthentication": "no",
        "gssapiauthentication": "no",
        "ignorerhosts": "yes",
        "usepam": "yes",
        "loglevel": "VERBOSE",
        "requiredrsasize": "3072",
    }
    assert {name: _effective(secured)[name] for name in wanted} == wanted
    assert secured.sh("find /etc/ssh/sshd_config* -type f -perm /077") == ""


def test_the_role_again_changes_nothing(secured: Target) -> None:
    assert secured.apply("ssh") == []
    assert secured.apply("ssh", check=True) == []
    assert secured.sh("systemctl list-units --all --quiet 'maia-ssh-undo*'") == ""


def test_a_configuration_that_locks_us_out_is_taken_back_by_the_host(secured: Target, server: Server) -> None:
    before = secured.sh("cat /etc/ssh/sshd_config.d/00-maia.conf")
    with pytest.raises(MaiaError, match=r"deploy would be locked out|took longer than 40 s"):
        secured.apply("ssh", ssh_patience=PATIENCE, **LOCKING_OUT)
    until(lambda: server.run("true").returncode == 0, "the former configuration is back", 3 * PATIENCE)
    assert secured.sh("cat /etc/ssh/sshd_config.d/00-maia.conf") == before


def test_what_somebody_changed_in_it_is_put_back(secured: Target) -> None:
    before = secured.sh("cat /etc/ssh/sshd_config.d/00-maia.conf")
    secured.sh("echo 'PermitRootLogin yes' >>/etc/ssh/sshd_config.d/00-maia.conf")
    assert secured.apply("ssh")
    assert secured.sh("cat /etc/ssh/sshd_config.d/00-maia.conf") == before
    assert secured.apply("ssh") == []


def test_a_configuration_that_sshd_does_not_take_changes_nothing(secured: Target, server: Server) -> None:
    before = secured.sh("cat /etc/ssh/sshd_config.d/00-maia.conf")
    with pytest.raises(MaiaError, match="invalid quotes"):
        secured.apply("ssh", ssh_groups=["a'quote"], ssh_patience=PATIENCE)
    assert secured.sh("cat /etc/ssh/sshd_config.d/00-maia.conf") == before
    assert server.run("true").returncode == 0


def test_root_is_told_to_log_in_as_somebody_else(secured: Target, server: Server) -> None:
    secured.sh("printf 'PermitRootLogin prohibit-password\\nAllowGroups root\\n' >/etc/ssh/sshd_config.d/000-test.conf")
    secured.sh("systemctl reload ssh")
    root = Target(dataclasses.replace(server, user="root"))
    with pytest.raises(MaiaError, match="root logs in to carry this out and could not do so again"):
        root.apply("ssh")
    secured.sh("rm /etc/ssh/sshd_config.d/000-test.conf; systemctl reload ssh")


def test_removed_it_leaves_debians_server(secured: Target, server: Server) -> None:
    assert secured.apply("ssh", entry="remove")
    assert secured.apply("ssh", entry="remove") == []
    assert secured.sh("find /etc -name '*maia*'") == ""
    assert server.run("true").returncode == 0
    assert "What is done here is recorded." not in _offered(server).stderr


def test_an_image_gets_the_same_and_no_keys(image: Target) -> None:
    assert image.apply("ssh", check=True)
    assert image.apply("ssh")
    written = image.sh("cat /etc/ssh/sshd_config.d/00-maia.conf")
    assert "AllowGroups maia maia-admins\n" in written
    assert image.sh("find /etc/ssh -name 'ssh_host_*'") == "", "each machine makes its own"
    assert image.sh("systemctl is-enabled ssh") == "enabled\n"
    assert image.apply("ssh") == []


@pytest.mark.long
def test_debian_12_takes_it_too(tmp_path: Path) -> None:
    lab = Lab(Site(tmp_path / "site"), docker.from_env())
    try:
        older = Target(lab.up("role-ssh-12", quiet, release="12"))
        assert older.apply("ssh")
        assert older.apply("ssh") == []
        assert _effective(older)["kexalgorithms"].startswith("sntrup761x25519-sha512")
        with pytest.raises(MaiaError, match="would be locked out"):
            older.apply("ssh", ssh_patience=PATIENCE, **LOCKING_OUT)
        assert isinstance(older.on, Server)
        server = older.on
        until(lambda: server.run("true").returncode == 0, "the former configuration is back", 3 * PATIENCE)
    finally:
        lab.down(quiet)
