"""What makes a bare Debian a lab host: files that are put into it before it starts."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from infra.host import AUTOMATION
from infra.lab import machine
from infra.lab.root import UID, USER

INIT = "/usr/local/sbin/lab-init"
MASKED = (
    # They set what the kernel has but once, for this machine too.
    "systemd-sysctl.service", "systemd-modules-load.service", "systemd-binfmt.service",
    "proc-sys-fs-binfmt_misc.automount", "sys-kernel-config.mount", "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount", "sys-fs-fuse-connections.mount",
    # There are no devices and no consoles.
    "systemd-udevd.service", "systemd-udevd-control.socket", "systemd-udevd-kernel.socket", "systemd-logind.service",
    "console-getty.service", "getty@tty1.service",
)  # fmt: skip
SSHD = f"""\
HostKey /etc/ssh/ssh_host_ed25519_key
AllowUsers {USER} {AUTOMATION}
PermitRootLogin no
PasswordAuthentication no
KbdInteractiveAuthentication no
"""
SUDO = f"""\
{USER} ALL=(ALL:ALL) NOPASSWD: ALL
Defaults env_file=/etc/environment
"""


def archive(host_key: bytes, authorized: str) -> bytes:
    """What a container is given, as a tar archive.

    Args:
        host_key: the private key by which the host is known.
        authorized: the public key of who may log in.
    """
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        add(tar, INIT.lstrip("/"), Path(__file__).with_name("init").read_bytes(), 0o755)
        _entrance(tar, host_key, authorized)
        for unit in MASKED:
            link = tarfile.TarInfo(f"etc/systemd/system/{unit}")
            link.type, link.linkname = tarfile.SYMTYPE, "/dev/null"
            tar.addfile(link)
    return out.getvalue()


def seed(name: str, host_key: bytes, authorized: str) -> bytes:
    """The same for a machine with a kernel of its own, which has to be told its name too."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        add(tar, "etc/hostname", f"{name}\n".encode())
        add(tar, "etc/hosts", f"127.0.0.1 localhost\n127.0.1.1 {name}\n::1 localhost\n".encode())
        _entrance(tar, host_key, authorized)
    return out.getvalue()


def add(tar: tarfile.TarFile, path: str, content: bytes, mode: int = 0o644, owner: int = 0) -> None:
    """One more file of an archive."""
    member = tarfile.TarInfo(path)
    member.size, member.mode, member.uid, member.gid = len(content), mode, owner, owner
    tar.addfile(member, io.BytesIO(content))


def _entrance(tar: tarfile.TarFile, host_key: bytes, authorized: str) -> None:
    """Who the host is, who may enter it, and what it is told of this machine."""
    home = f"home/{USER}/.ssh"
    add(tar, "etc/ssh/ssh_host_ed25519_key", host_key, 0o600)
    add(tar, "etc/ssh/sshd_config.d/lab.conf", SSHD.encode())
    add(tar, "etc/sudoers.d/lab", SUDO.encode(), 0o440)
    _folder(tar, home)
    add(tar, f"{home}/authorized_keys", authorized.encode(), 0o600, UID)
    for path, content in machine.settings().items():
        add(tar, path, content)


def _folder(tar: tarfile.TarFile, path: str) -> None:
    member = tarfile.TarInfo(path)
    member.type, member.mode, member.uid, member.gid = tarfile.DIRTYPE, 0o700, UID, UID
    tar.addfile(member)
