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
    """All of them as a tar archive.

    Args:
        host_key: the private key by which the host is known.
        authorized: the public key of who may log in.
    """
    home = f"home/{USER}/.ssh"
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        _file(tar, INIT.lstrip("/"), Path(__file__).with_name("init").read_bytes(), 0o755)
        _file(tar, "etc/ssh/ssh_host_ed25519_key", host_key, 0o600)
        _file(tar, "etc/ssh/sshd_config.d/lab.conf", SSHD.encode())
        _file(tar, "etc/sudoers.d/lab", SUDO.encode(), 0o440)
        _folder(tar, home)
        _file(tar, f"{home}/authorized_keys", authorized.encode(), 0o600, UID)
        for unit in MASKED:
            link = tarfile.TarInfo(f"etc/systemd/system/{unit}")
            link.type, link.linkname = tarfile.SYMTYPE, "/dev/null"
            tar.addfile(link)
        for path, content in machine.settings().items():
            _file(tar, path, content)
    return out.getvalue()


def _folder(tar: tarfile.TarFile, path: str) -> None:
    member = tarfile.TarInfo(path)
    member.type, member.mode, member.uid, member.gid = tarfile.DIRTYPE, 0o700, UID, UID
    tar.addfile(member)


def _file(tar: tarfile.TarFile, path: str, content: bytes, mode: int = 0o644, owner: int = 0) -> None:
    member = tarfile.TarInfo(path)
    member.size, member.mode, member.uid, member.gid = len(content), mode, owner, owner
    tar.addfile(member, io.BytesIO(content))
