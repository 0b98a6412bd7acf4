"""A data disk of a server: made of nothing but a blank device, mounted tightly, and never wiped.

The disks are files behind loop devices of the kernel, which are detached again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from infra import converge
from infra.errors import MaiaError
from tests.roles import Target

Disk = Callable[[], str]

ATTACH = """
[ -e /dev/loop-control ] || mknod -m 600 /dev/loop-control c 10 237
file=$(mktemp /disk.XXXXXX); truncate --size 64M $file
set -- $(losetup --find); device=$1; [ -e $device ] || mknod -m 600 $device b 7 ${device#/dev/loop}
losetup $device $file; echo $device
"""


@pytest.fixture(scope="module")
def disk(host: Target) -> Iterator[Disk]:
    """A way to more disks, each a blank one."""
    made: list[str] = []

    def attach() -> str:
        made.append(host.sh(ATTACH).strip())
        return made[-1]

    yield attach
    host.sh("systemctl stop docker.socket docker.service srv-data.mount 2>/dev/null || true")
    for device in made:
        host.sh(f"umount --all-targets {device} 2>/dev/null || true; losetup --detach {device}")


@pytest.fixture(scope="module")
def data(disk: Disk) -> str:
    """The data disk that the tests go through their lives with."""
    return disk()


def mounted(host: Target, folder: str) -> list[str]:
    """Options and source of what is mounted there."""
    return host.sh(f"findmnt --noheadings --output OPTIONS,SOURCE --mountpoint {folder} || true").split()


def first(host: Target, device: str) -> str:
    """A sum over all that is on a disk."""
    return host.sh(f"sha256sum <{device}")


def test_without_a_disk_nothing_is_done(host: Target) -> None:
    assert host.apply("disks") == []


def test_looking_says_what_would_be_done_and_leaves_the_disk_blank(host: Target, data: str) -> None:
    before = first(host, data)
    assert "disks : Write its mount" in host.apply("disks", check=True, disks_data=data)
    assert first(host, data) == before
    assert host.sh("find /etc/systemd/system -name 'srv-data*'") == ""


def test_a_blank_disk_is_made_and_mounted_for_data_alone(host: Target, data: str) -> None:
    assert "disks : Make its file system" in host.apply("disks", disks_data=data)
    options, source = mounted(host, "/srv/data")
    assert source == data
    assert {"rw", "nodev", "nosuid", "noexec"} <= set(options.split(","))
    host.sh("cp /usr/bin/true /srv/data/; mknod /srv/data/null c 1 3; echo kept >/srv/data/words")
    assert "Permission denied" in host.sh("/srv/data/true 2>&1 || true")
    assert "Permission denied" in host.sh("cat /srv/data/null 2>&1 || true")


def test_a_second_time_nothing_changes(host: Target, data: str) -> None:
    assert host.apply("disks", disks_data=data) == []
    assert host.apply("disks", check=True, disks_data=data) == []


def test_what_is_on_it_outlives_its_role(host: Target, data: str) -> None:
    assert host.apply("disks", entry="remove")
    assert mounted(host, "/srv/data") == []
    assert host.sh("find /etc/systemd/system -name 'srv-data*'") == ""
    assert host.apply("disks", entry="remove") == []
    assert "disks : Make its file system" not in host.apply("disks", disks_data=data)
    assert host.sh("cat /srv/data/words") == "kept\n"


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        ("mkfs.ext4 -q {}; mount -o ro {} /mnt", "is mounted on /mnt"),
        ("mkswap -q {}", "holds swap, not ext4, and nothing is ever wiped"),
        ("echo label: gpt | sfdisk --quiet {}", "holds PMBR gpt, not ext4"),
        ("echo words | dd of={} bs=1k seek=9 conv=notrunc status=none", "holds data that no signature explains"),
        ("true {}-no-such", "is no block device"),
    ],
    ids=["mounted", "swap", "partitions", "words", "absent"],
)
def test_a_disk_that_is_not_blank_is_refused_and_left_as_it_is(
    host: Target, disk: Disk, prepare: str, said: str
) -> None:
    device = disk()
    host.sh("command -v sfdisk >/dev/null || apt-get -qq install fdisk >/dev/null")
    host.sh(prepare.replace("{}", device))
    before = first(host, device)
    asked = f"{device}-no-such" if "no-such" in prepare else device
    with pytest.raises(MaiaError, match=said):
        host.apply("disks", disks_data=asked, disks_folder="/srv/other")
    assert first(host, device) == before
    assert mounted(host, "/srv/other") == []
    host.sh("umount /mnt 2>/dev/null || true")


def test_nothing_is_encrypted_without_a_kernel_of_its_own(host: Target, image: Target, disk: Disk) -> None:
    device = disk()
    for target in (host, image):
        with pytest.raises(MaiaError, match="not provable here"):
            target.apply("disks", disks_data=device, disks_encrypted=True)
    assert set(host.sh(f"head -c 1048576 {device} | tr -d '\\0' | wc -c").split()) == {"0"}


def test_what_is_slow_to_be_opened_is_waited_for_at_a_start(host: Target) -> None:
    """What the role says of its device, to a systemd that has it; that it is written wants a kernel of its own."""
    unit = "dev-mapper-maia\\x2ddata.device"
    limit = f"systemctl show --value --property=JobRunningTimeoutUSec '{unit}'"
    assert host.sh(limit) == "1min 30s\n"
    told = (converge.ROLES / "disks" / "files" / "device.conf").read_text()
    host.sh(f"mkdir '/etc/systemd/system/{unit}.d'; printf '%s' '{told}' >'/etc/systemd/system/{unit}.d/60-maia.conf'")
    host.sh("systemctl daemon-reload")
    assert host.sh(limit) == "infinity\n"
    assert "disks : Take away what is said of its device" in host.apply("disks", entry="remove")
    assert host.sh(limit) == "1min 30s\n"


def test_a_folder_that_cannot_be_a_mount_is_refused(host: Target, disk: Disk) -> None:
    with pytest.raises(MaiaError, match="no folder to mount a data disk on"):
        host.apply("disks", disks_data=disk(), disks_folder="/srv/with space")


def test_docker_is_not_put_over_a_disk_of_its_own(host: Target, data: str) -> None:
    with pytest.raises(MaiaError, match="/var/lib/docker holds something already, or is a disk of its own"):
        host.apply("disks", disks_data=data, disks_docker=True)


def test_an_image_has_the_mounts_and_no_disk_is_looked_for(image: Target) -> None:
    asked: dict[str, Any] = {"disks_data": "/dev/disk/by-id/some", "disks_docker": True, "disks_folder": "/srv/my-data"}
    assert image.apply("disks", **asked)
    assert image.apply("disks", **asked) == []
    assert image.apply("disks", check=True, **asked) == []
    wanted = "/etc/systemd/system/local-fs.target.wants"
    assert image.sh(f"ls {wanted}").split() == ["srv-my\\x2ddata.mount", "var-lib-docker.mount"]
    said = image.sh(f"systemd-analyze verify --man=no {wanted}/*.mount 2>&1 || true")
    assert "Where= setting doesn't match" not in said
    assert image.apply("disks", entry="remove")
    assert image.sh(f"ls {wanted}") == ""
