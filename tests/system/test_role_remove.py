"""What the roles put on a server, taken away again: the last role first, and nothing that is somebody's data."""

from __future__ import annotations

from typing import Any

import pytest

from infra.errors import MaiaError
from tests.roles import Target

MARK = "/etc/maia/host.json"
DOCKER = "/etc/systemd/system/docker.service.d"
ASKED: dict[str, dict[str, Any]] = {"docker": {"docker_hardened": True}, "gpu": {}}


@pytest.fixture
def furnished(image: Target) -> Target:
    """With what two roles leave in an image; Docker itself takes long to install, and is the host's test."""
    image.apply("disks", disks_data="/dev/disk/by-id/some")
    image.sh(f"mkdir -p /etc/maia /etc/docker {DOCKER}; echo {{}} | tee {MARK} >/etc/docker/daemon.json")
    image.sh(f"touch {DOCKER}/60-maia.conf")
    return image


def test_an_unknown_role_is_refused_before_anything_is_taken_away(furnished: Target) -> None:
    with pytest.raises(MaiaError, match="there is no role dokcer that can be undone"):
        furnished.apply("remove", remove_roles=["dokcer", "disks"])
    assert furnished.sh("ls /etc/systemd/system/srv-data.mount")


def test_roles_are_undone_from_the_last_to_the_first_and_the_mark_goes_when_they_are(furnished: Target) -> None:
    undo: dict[str, Any] = {"remove_roles": ["disks", "docker"]}
    assert furnished.apply("remove", check=True, **undo)
    assert furnished.sh(f"ls {MARK} /etc/docker/daemon.json /etc/systemd/system/srv-data.mount")
    changed = furnished.apply("remove", **undo)
    roles = [each.split(" : ")[0] for each in changed]
    assert roles == sorted(roles, key=["docker", "disks", "remove"].index)
    assert set(roles) == {"docker", "disks", "remove"}
    assert (
        furnished.sh(
            f"find {MARK} /etc/docker /etc/systemd -name '*maia*' -o -name '*.json' -o -name '*.mount' || true"
        )
        == ""
    )
    assert furnished.apply("remove", **undo) == []


def test_what_is_somebodys_stays(host: Target) -> None:
    host.together(ASKED)
    host.sh("docker volume create maia-local-data; useradd somebody")
    assert host.apply("remove", remove_roles=list(ASKED))
    assert host.sh("docker volume ls --quiet") == "maia-local-data\n"
    assert host.sh("systemctl is-active docker.service; id -un somebody") == "active\nsomebody\n"
    assert host.sh("ls -A /etc/docker") == ""
    assert host.apply("remove", remove_roles=list(ASKED)) == []
