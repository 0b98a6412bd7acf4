"""Virtual machines: a Debian with a kernel of its own, emulated in a container that may do nothing."""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.lab import files, root
from infra.lab.root import Root

if TYPE_CHECKING:
    from docker.models.containers import Container

RELEASE = "13"
"""Of Debian: the only one that there are machines of."""
FOLDER = "/vm"
"""Of a machine's container: all that the machine consists of."""
UID = 65534
"""Who emulates."""
PATIENCE = 1800.0
"""Seconds within which a started machine must answer: its processor is as slow as this one is busy."""
LENT: Mapping[str, Any] = {
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
    "user": f"{UID}:{UID}",
    "environment": {"LC_ALL": "C.UTF-8"},  # names of files in the archive
    "sysctls": {"net.ipv4.ip_unprivileged_port_start": "0"},
    "mem_limit": "3g",
    "pids_limit": 128,
}
"""What the emulator needs: less than any other container. The port of ssh is that of the container's own address."""

FILES = {
    "etc/fstab": "LABEL=root / ext4 errors=remount-ro 0 1\n",
    "etc/default/grub": 'GRUB_TIMEOUT=0\nGRUB_CMDLINE_LINUX="console=ttyS0"\n',
    # GRUB's own words, until the first `update-grub` on a machine that runs.
    "boot/grub/grub.cfg": "linux /vmlinuz root=LABEL=root ro console=ttyS0\ninitrd /initrd.img\nboot\n",
    # The emulator's network: it has these addresses always, and answers for names.
    "etc/systemd/network/lab.network": "[Match]\nType=ether\n[Network]\nAddress=10.0.2.15/24\nGateway=10.0.2.2\n",
    "etc/resolv.conf": "nameserver 10.0.2.3\n",
    # What is emulated takes ten times as long.
    "etc/systemd/system.conf.d/lab.conf": "[Manager]\nDefaultTimeoutStartSec=15min\nDefaultDeviceTimeoutSec=15min\n",
    "etc/systemd/system/lab-seed.service": """\
[Unit]
Description=What the lab tells this machine
DefaultDependencies=no
ConditionPathExists=!/etc/ssh/ssh_host_ed25519_key
Requires=dev-disk-by\\\\x2did-virtio\\\\x2dseed.device
After=dev-disk-by\\\\x2did-virtio\\\\x2dseed.device systemd-remount-fs.service
Before=sysinit.target
[Service]
Type=oneshot
ExecStart=tar -C / -xpf /dev/disk/by-id/virtio-seed
ExecStart=hostname --file /etc/hostname
[Install]
WantedBy=sysinit.target
""",
}
GUEST = Root(
    name="vm13",
    suite=root.BARE[RELEASE].suite,
    packages=(
        *root.PACKAGES, "e2fsprogs", "grub-efi-amd64-bin", "grub2-common", "initramfs-tools", "kmod", "libpam-systemd",
        "linux-image-amd64", "netbase", "udev", "zstd",
    ),
    hooks=(
        *root.HOOKS,
        *(f"mkdir -p \"$1/$(dirname '{path}')\"; printf '{text}' > \"$1/{path}\"" for path, text in FILES.items()),
        'chroot "$1" systemctl enable --quiet systemd-networkd lab-seed',
        'truncate --size 0 "$1/etc/machine-id"; touch "$1/etc/.updated" "$1/var/.updated"',
    ),
)  # fmt: skip
"""What is on a machine's disk, before it is told anything."""


EMULATOR = Root(
    name="emulator",
    suite=root.BARE[RELEASE].suite,
    packages=("dosfstools", "e2fsprogs", "fdisk", "libarchive13t64", "mtools", "ovmf", "qemu-system-x86"),
    hooks=(f'install -d -o {UID} -g {UID} "$1{FOLDER}"',),
)
"""What runs it, and makes its disk: nothing of it is installed on this machine."""


def put(container: Container, seed: bytes, archive: Path) -> None:
    """Give a machine's container what the machine is made of.

    Args:
        seed: an archive that the machine unpacks when it first starts.
        archive: its root file system.
    """
    with tempfile.TemporaryFile() as file:
        with tarfile.open(fileobj=file, mode="w") as tar, archive.open("rb") as content:
            for name in ("emulate", "make-disk"):
                files.add(tar, name, Path(__file__).with_name(name).read_bytes(), 0o755)
            files.add(tar, "seed", seed, 0o600, UID)
            member = tar.gettarinfo(fileobj=content, arcname="root.tar")
            member.uid, member.gid, member.mode = UID, UID, 0o600
            tar.addfile(member, content)
        file.seek(0)
        container.put_archive(FOLDER, file)
