"""What the roles put on a server, taken away again: the last role first, and nothing that is somebody's data."""

from __future__ import annotations

import pytest

from infra.errors import MaiaError
from tests.roles import Target

MARK = "/etc/maia/host.json"
ASKED = {"docker": {"docker_hardened": True}, "gpu": {}}


def test_an_unknown_role_is_refused_before_anything_is_taken_away(image: Target) -> None:
    image.together(ASKED)
    with pytest.raises(MaiaError, match="there is no role dokcer that can be undone"):
        image.apply("remove", remove_roles=["dokcer", "gpu"])
    assert image.sh("ls /etc/docker") == "daemon.json\n"


def test_roles_are_undone_from_the_last_to_the_first(image: Target) -> None:
    image.apply("disks", disks_data="/dev/disk/by-id/some")
    image.sh(f"mkdir -p /etc/maia; echo {{}} >{MARK}")
    assert image.apply("remove", check=True, remove_roles=["disks", "docker"])
    assert image.sh(f"ls {MARK} /etc/docker/daemon.json")
    changed = image.apply("remove", remove_roles=["disks", "docker"])
    assert changed[-1] == "remove : Take the mark away"
    roles = [each.split(" : ")[0] for each in changed]
    assert roles == sorted(roles, key=["docker", "disks", "remove"].index)
    assert (
        image.sh(f"find {MARK} /etc/docker /etc/systemd/system -name '*maia*' -o -name '*.mount'  2>/dev/null || true")
        == ""
    )
    assert image.apply("remove", remove_roles=["disks", "docker"]) == []


def test_what_is_somebodys_stays(host: Target) -> None:
    host.together(ASKED)
    host.sh("docker volume create maia-local-data; useradd somebody")
    assert host.apply("remove", remove_roles=list(ASKED))
    assert host.sh("docker volume ls --quiet") == "maia-local-data\n"
    assert host.sh("systemctl is-active docker.service; id -un somebody") == "active\nsomebody\n"
    assert host.sh("ls -A /etc/docker") == ""
    assert host.apply("remove", remove_roles=list(ASKED)) == []
