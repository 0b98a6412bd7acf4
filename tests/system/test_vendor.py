"""A folder of vendored packages carries a build with no registry and no mirror in reach."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import docker
import pytest

from infra.site import REPO

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="builds and mounts as root"),
    pytest.mark.long,
]


def built(kind: str, folder: Path, home: Path, *prefix: str) -> tuple[str, Path]:
    """Builds with nothing but ``folder`` in common with any other build; returns the image's id and archive."""
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GO")}
    if kind == "offline":
        kept = {name: value for name, value in kept.items() if not name.startswith("PIP_") and "MIRROR" not in name}
        kept["PIP_CONFIG_FILE"] = os.devnull
    # Without the machine's own Go: that, too, comes out of the folder.
    own = {"HOME": str(home), "MAIA_CACHE": str(home / "cache"), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    done = subprocess.run(
        [*prefix, sys.executable, "-m", "tests.system.vendored", kind, folder],
        cwd=REPO, env=kept | own, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    identity, archive = done.stdout.split()
    return identity, Path(archive)


def test_wheels_and_a_go_program_are_built_from_a_folder_with_no_network_and_give_the_same_image(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "vendor"
    online, _ = built("online", folder, tmp_path / "online")
    alone = ["unshare", "--net", "--", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    away = ["python3", "-c", "import socket; socket.create_connection(('192.0.2.1', 80), 1)"]
    assert "unreachable" in subprocess.run([*alone, *away], capture_output=True, text=True).stderr
    offline, archive = built("offline", folder, tmp_path / "offline", *alone)
    assert offline == online
    client = docker.from_env()
    with archive.open("rb") as stream:
        (image,) = client.images.load(stream)
    try:
        script = "hello && python3 -c 'import granian, psycopg; print(granian.__name__)'"
        said = client.containers.run(
            str(image.id), ["sh", "-c", script], remove=True, network_mode="none", read_only=True
        )
        assert said.decode().split() == ["7acf8e3c-faec-53bf-aec7-3de60a245b77", "granian"]
    finally:
        client.images.remove(str(image.id), force=True)
