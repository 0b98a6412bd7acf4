"""A hardened host as its users meet it: what they may not run, read, try or leave lying about."""

from __future__ import annotations

import subprocess
from pathlib import Path

import docker
import pytest

from infra.lab import Lab
from infra.site import Site
from infra.ssh import Server
from tests.roles import Target, quiet

FILES = (
    "/etc/sysctl.d/60-maia-hardening.conf", "/etc/modprobe.d/60-maia.conf", "/etc/default/grub.d/60-maia.cfg",
    "/etc/security/limits.d/60-maia.conf", "/etc/systemd/coredump.conf.d/60-maia.conf", "/etc/profile.d/60-maia.sh",
    "/etc/security/pwquality.conf.d/60-maia.conf", "/etc/pam.d/common-auth", "/etc/pam.d/common-password",
    "/etc/pam.d/common-session", "/etc/pam.d/common-account", "/etc/pam.d/su", "/etc/fstab", "/etc/login.defs",
    "/etc/issue", "/etc/issue.net", "/etc/motd", "/etc/security/faillock.conf", "/etc/default/useradd",
)  # fmt: skip
"""What the role writes and changes."""
KERNEL = "cd /proc/sys; grep -r . fs/protected_* kernel/dmesg_restrict kernel/core_pattern vm/mmap*"
PASSWORD, OTHER = "Quiet-Harbour-71-lamp", "Narrow.Gate.58.fern"
ACCOUNTS = f"""
useradd --create-home --shell /bin/bash anna
useradd --create-home --shell /bin/bash --groups maia-su ben
printf 'anna:{PASSWORD}\\nben:{PASSWORD}\\n' | chpasswd
chage --mindays 0 anna
"""


def _files(target: Target) -> str:
    return target.sh(f"sha256sum {' '.join(FILES)} 2>/dev/null || true")


def _as(host: Target, user: str, script: str, *lines: str) -> subprocess.CompletedProcess[str]:
    """What a login shell of a user says, which is told some lines."""
    assert isinstance(host.on, Server)
    words = ["sudo", "runuser", "-l", user, "-c", script]
    command = host.on.command("printf", "'%s\\n'", *(f"'{line}'" for line in lines), "|", *words[:-1], f'"{script}"')
    return subprocess.run(command, text=True, capture_output=True, timeout=120)


def _su(host: Target, user: str, to: str, password: str) -> bool:
    return _as(host, user, f"su {to} -c true", password).returncode == 0


@pytest.fixture(scope="module")
def bare(host: Target) -> str:
    """What the files were like before the role."""
    host.sh("touch /etc/crontab; chmod 644 /etc/crontab")
    return _files(host)


@pytest.fixture(scope="module")
def kernel(host: Target) -> str:
    """What every host of this kernel has in common, before the role."""
    return host.sh(KERNEL)


@pytest.fixture(scope="module")
def hardened(host: Target, bare: str, kernel: str) -> Target:
    assert host.apply("hardening")
    host.sh(ACCOUNTS)
    return host


def test_what_would_change_is_said_and_left(host: Target, bare: str) -> None:
    assert "hardening : Write the settings" in host.apply("hardening", check=True)
    assert _files(host) == bare


def test_a_second_time_nothing_changes(hardened: Target) -> None:
    assert hardened.apply("hardening") == []
    assert hardened.apply("hardening", check=True) == []


def test_nothing_in_the_folders_of_everybody_can_be_run(hardened: Target) -> None:
    script = (
        "for at in /tmp /var/tmp /dev/shm; do cp /usr/bin/true $at/tool; $at/tool && echo ran; rm $at/tool; done; true"
    )
    said = _as(hardened, "anna", script)
    assert "ran" not in said.stdout
    assert said.stderr.count("Permission denied") == 3


def test_su_is_for_its_group_alone(hardened: Target) -> None:
    assert not _su(hardened, "anna", "ben", PASSWORD)
    assert _su(hardened, "ben", "anna", PASSWORD)
    assert hardened.sh("su anna -c 'id -un'") == "anna\n", "root still may"


def test_wrong_passwords_lock_an_account_until_it_is_opened(hardened: Target) -> None:
    for _ in range(5):
        assert not _su(hardened, "ben", "anna", "wrong")
    assert not _su(hardened, "ben", "anna", PASSWORD), "now the right one is refused too"
    hardened.sh("faillock --user anna --reset")
    assert _su(hardened, "ben", "anna", PASSWORD)


def test_weak_and_former_passwords_are_refused(hardened: Target) -> None:
    for weak in ("short1A.", "password123456", "aaaaaaaaaaaaaaaaaa"):
        said = _as(hardened, "anna", "passwd", PASSWORD, weak, weak)
        assert said.returncode != 0
        assert "BAD PASSWORD" in said.stderr + said.stdout
    assert _as(hardened, "anna", "passwd", PASSWORD, OTHER, OTHER).returncode == 0
    back = _as(hardened, "anna", "passwd", OTHER, PASSWORD, PASSWORD)
    assert back.returncode != 0
    assert "already used" in back.stderr + back.stdout


def test_new_files_are_not_for_others_and_a_silent_shell_ends(hardened: Target) -> None:
    assert isinstance(hardened.on, Server)
    assert hardened.on.run("sh", "-c", "umask").stdout == "0027\n", "of a command over ssh"
    said = _as(hardened, "anna", "umask; echo \\$TMOUT; TMOUT=0; echo \\$TMOUT")
    assert said.stdout.split()[:2] == ["0027", "900"]
    assert "readonly" in said.stderr
    assert "\n0\n" not in said.stdout


def test_temporary_files_lie_where_nobody_else_looks(hardened: Target) -> None:
    folder = hardened.sh("su -l anna -c 'mktemp -d'").strip()
    assert folder.startswith("/tmp/user/")
    assert "Permission denied" in _as(hardened, "ben", f"ls {folder}").stderr


def test_a_guess_at_a_kept_password_is_dear(hardened: Target) -> None:
    assert hardened.sh("getent shadow anna ben").count(":$y$jBT$") == 2, "yescrypt's cost is 7"


def test_a_program_that_dies_leaves_nothing_of_its_memory(hardened: Target) -> None:
    said = _as(hardened, "anna", "ulimit -Hc")
    assert said.stdout == "0\n"


def test_others_read_neither_schedules_nor_shadows(hardened: Target) -> None:
    said = _as(hardened, "anna", "ls /etc/cron.daily; cat /etc/crontab /etc/shadow /etc/security/opasswd; ls /root")
    assert said.stdout == ""
    assert said.stderr.count("Permission denied") == 5
    hardened.sh("chmod 644 /etc/crontab; chmod 755 /etc/cron.daily")
    assert hardened.apply("hardening") == ["hardening : Close files and folders"]


def test_the_hosts_own_network_follows_no_one_elses_word(hardened: Target) -> None:
    names = ("accept_redirects", "accept_source_route", "send_redirects", "log_martians", "rp_filter")
    found = hardened.sh("cd /proc/sys/net/ipv4/conf/all; cat " + " ".join(names)).split()
    assert found == ["0", "0", "0", "1", "1"]


def test_what_a_run_that_was_cut_did_not_get_to_is_done_by_the_next(hardened: Target) -> None:
    hardened.sh("sysctl -qw net.ipv4.conf.all.log_martians=0; mount -o remount,bind,exec /dev/shm; umount /var/tmp")
    assert hardened.apply("hardening") == [
        "hardening : Apply the settings of the kernel",
        "hardening : Mount what can be mounted now",
    ]
    assert hardened.sh("cat /proc/sys/net/ipv4/conf/all/log_martians") == "1\n"
    mounts = hardened.sh("grep -E '^[^ ]+ (/dev/shm|/var/tmp) ' /proc/self/mounts").splitlines()
    assert len([line for line in mounts if "noexec" in line]) == 2
    assert hardened.apply("hardening") == []


def test_of_the_shared_kernel_nothing_was_changed(hardened: Target, kernel: str) -> None:
    assert "kernel.kptr_restrict = 2" in hardened.sh("cat /etc/sysctl.d/60-maia-hardening.conf")
    assert hardened.sh(KERNEL) == kernel


def test_a_login_is_warned_and_told_nothing_of_the_system(hardened: Target) -> None:
    for path in ("/etc/issue", "/etc/issue.net", "/etc/motd"):
        said = hardened.sh(f"cat {path}")
        assert "authorised use only" in said
        assert "Debian" not in said


def test_services_and_programs_that_are_not_needed_go(hardened: Target) -> None:
    unit = "[Service]\nExecStart=/usr/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n"
    hardened.sh(f"printf '{unit}' >/etc/systemd/system/rpcbind.service; systemctl enable --now --quiet rpcbind")
    assert hardened.apply("hardening", check=True) == ["hardening : Have services that are not needed off"]
    assert hardened.apply("hardening") == ["hardening : Have services that are not needed off"]
    assert hardened.sh("systemctl is-active rpcbind || systemctl is-enabled rpcbind || true") == "inactive\ndisabled\n"
    assert hardened.apply("hardening") == []


def test_compilers_can_be_left_to_root(hardened: Target) -> None:
    hardened.sh("install -m 755 /usr/bin/true /usr/bin/x86_64-linux-gnu-gcc-14")
    assert hardened.apply("hardening", hardening_compilers=False) == ["hardening : Have them closed to others"]
    assert _as(hardened, "anna", "/usr/bin/x86_64-linux-gnu-gcc-14").returncode == 126
    hardened.sh("/usr/bin/x86_64-linux-gnu-gcc-14")
    assert hardened.apply("hardening", hardening_compilers=False) == []


def test_settings_can_be_other_ones(hardened: Target) -> None:
    assert hardened.apply("hardening", hardening_sysctl={"net.ipv4.conf.all.log_martians": 0})
    assert hardened.sh("cat /proc/sys/net/ipv4/conf/all/log_martians") == "0\n"


def test_removed_it_leaves_debians_own_files(hardened: Target, bare: str) -> None:
    assert hardened.apply("hardening", entry="remove")
    kept = [line for line in bare.splitlines() if "/etc/pam.d/" not in line and "login.defs" not in line]
    assert set(kept) <= set(_files(hardened).splitlines())
    assert "maia" not in hardened.sh("cat /etc/pam.d/common-* /etc/pam.d/su /etc/fstab; ls /etc/*.d /etc/security")
    assert "pam_faillock" not in hardened.sh("cat /etc/pam.d/common-auth")
    assert hardened.apply("hardening", entry="remove") == []


def test_an_image_gets_the_same_files(image: Target) -> None:
    assert image.apply("hardening", check=True)
    assert image.apply("hardening")
    assert image.apply("hardening") == []
    assert "install usb-storage /bin/false" in image.sh("cat /etc/modprobe.d/60-maia.conf")
    assert "apparmor=1" in image.sh("cat /etc/default/grub.d/60-maia.cfg")
    assert image.sh("ls /etc/apparmor.d/abstractions/base; grep -c pam_faillock /etc/pam.d/common-auth").endswith("2\n")
    assert "/dev/shm" in image.sh("cat /etc/fstab")
    assert image.apply("hardening", entry="remove")
    assert image.apply("hardening", entry="remove") == []


@pytest.mark.long
def test_debian_12_is_hardened_too(tmp_path: Path) -> None:
    lab = Lab(Site(tmp_path / "site"), docker.from_env())
    older = Target(lab.up("role-hardening-12", quiet, release="12"))
    assert older.apply("hardening", check=True)
    assert older.apply("hardening")
    assert older.apply("hardening") == []
    older.sh("touch /tmp/in-use; systemd-run --quiet --wait --property=PrivateTmp=yes true; ls /tmp/in-use")
    older.sh(ACCOUNTS)
    assert not _su(older, "anna", "ben", PASSWORD)
    assert _su(older, "ben", "anna", PASSWORD)
    for _ in range(5):
        assert not _su(older, "ben", "anna", "wrong")
    assert not _su(older, "ben", "anna", PASSWORD)
    assert isinstance(older.on, Server)
    docker.from_env().containers.get(older.on.name).restart(timeout=60)
    older = Target(lab.up("role-hardening-12", quiet, release="12"))
    assert "noexec" in older.sh("findmnt --noheadings --output OPTIONS --mountpoint /tmp")
    assert older.apply("hardening", entry="remove")
    lab.down(quiet)
