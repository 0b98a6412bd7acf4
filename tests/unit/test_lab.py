"""What makes a lab host: what it is told of this machine, who may enter, and what its names may be."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from unittest.mock import Mock

import pytest

from infra import ssh
from infra.errors import MaiaError
from infra.lab import Lab, files, machine, vm
from infra.site import Site


def unpacked(archive: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {member.name: member for member in tar}


def test_a_host_is_told_where_packages_come_from_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "env"
    told.write_text("GOPROXY=https://go.example\nGOFLAGS=-mod=mod\n")
    for name, value in {
        "GOENV": str(told),
        "HTTPS_PROXY": "http://proxy.example:3128",
        "PIP_INDEX_URL": "https://pypi.example/simple",
        "PIP_FIND_LINKS": "/opt/wheels",
        "PULUMI_CONFIG_PASSPHRASE": "secret",
    }.items():
        monkeypatch.setenv(name, value)
    lines = machine.settings()["etc/environment"].decode().splitlines()
    assert {"GOPROXY=https://go.example", "HTTPS_PROXY=http://proxy.example:3128"} <= set(lines)
    assert "PIP_INDEX_URL=https://pypi.example/simple" in lines
    assert not [line for line in lines if line.startswith(("GOFLAGS", "PIP_FIND_LINKS", "PULUMI"))]


def test_keys_are_for_their_owner_and_units_that_change_the_kernel_are_masked() -> None:
    private, public = ssh.generate()
    members = unpacked(files.archive(private, public))
    assert members["etc/ssh/ssh_host_ed25519_key"].mode == 0o600
    authorized = members["home/deploy/.ssh/authorized_keys"]
    assert (authorized.mode, authorized.uid) == (0o600, 1000)
    assert members["etc/systemd/system/systemd-sysctl.service"].linkname == "/dev/null"
    assert members[files.INIT.lstrip("/")].mode == 0o755


def test_a_machine_is_told_who_it_is_and_is_left_the_units_that_set_its_own_kernel() -> None:
    private, public = ssh.generate()
    seed = files.seed("db", private, public)
    members = unpacked(seed)
    assert members["etc/ssh/ssh_host_ed25519_key"].mode == 0o600
    assert members["home/deploy/.ssh/authorized_keys"].uid == 1000
    assert b"db\n" in seed
    assert not [name for name, member in members.items() if member.linkname == "/dev/null"]
    assert len(seed) % 512 == 0, "it is a disk, and what does not fill a sector would be cut off"


def test_what_a_machine_is_made_of_is_for_its_emulator_alone(tmp_path: Path) -> None:
    (tmp_path / "root.tar").write_bytes(b"root")
    container = Mock()
    given: dict[str, tarfile.TarInfo] = {}
    container.put_archive = lambda folder, file: given.update(unpacked(file.read()))
    vm.put(container, b"seed", tmp_path / "root.tar")
    assert {name: (given[name].mode, given[name].uid) for name in ("seed", "root.tar")} == {
        "seed": (0o600, vm.UID),
        "root.tar": (0o600, vm.UID),
    }
    assert given["emulate"].mode == given["make-disk"].mode == 0o755


def test_a_key_is_made_once_and_again_where_making_it_was_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "key"
    line = ssh.ensure_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert ssh.ensure_key(path) == line
    path.with_suffix(".pub").unlink()
    assert ssh.ensure_key(path) != line


def test_a_server_is_reached_by_its_own_key_and_no_setting_of_the_caller(tmp_path: Path) -> None:
    server = ssh.Server(name="maia-lab-a", address="192.0.2.1", user="deploy", key=tmp_path / "k", known=tmp_path / "h")
    assert server.options[:2] == ["-F", "/dev/null"]
    assert {"-oStrictHostKeyChecking=yes", "-oHostKeyAlias=maia-lab-a", "-oIdentitiesOnly=yes"} <= set(server.options)


@pytest.mark.parametrize("name", ["", "Db", "-a", "a b", "a/b", "a" * 32])
def test_a_name_that_is_none_is_refused_before_anything_is_made(name: str, tmp_path: Path) -> None:
    client = Mock()
    lab = Lab(Site(tmp_path / "site"), client)
    for begin in (lab.up, lab.machine):
        with pytest.raises(MaiaError, match="is no name of a host"):
            begin(name, print)
    assert not client.mock_calls
    assert not (tmp_path / "site").exists()
