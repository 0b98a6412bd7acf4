"""The promise of the README, kept on a bare Debian with systemd: one command, and it runs and has verified itself.

What takes an hour to compile comes from this machine's cache, with the compiler by which it is known.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest

from infra.lab import Lab
from infra.site import REPO, Site, cache
from infra.ssh import Server
from tests.system.mutations import until

pytestmark = pytest.mark.long

LIMIT = 1800
"""Seconds after which a verb there is taken for hung: no limit of speed, the machine may be busy."""
VERSIONS = {"12": "20.10.", "13": "26.1."}
"""Of Docker, by release of Debian."""


@dataclass
class Fresh:
    """A lab host, with a clone of the repository in root's home."""

    lab: Lab
    name: str
    release: str
    server: Server

    def root(self, script: str) -> subprocess.CompletedProcess[str]:
        """What a person at root's shell would type."""
        return self.server.run("sudo", "-i", "sh", "-c", f"cd maia && {script}", timeout=LIMIT)

    def maia(self, words: str) -> str:
        done = self.root(f"./maia {words}")
        assert done.returncode == 0, f"maia {words}\n{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
        return done.stdout


@pytest.fixture(scope="module", params=sorted(VERSIONS, reverse=True))
def fresh(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fresh]:
    release, folder = str(request.param), tmp_path_factory.mktemp("fresh")
    lab, name = Lab(Site(folder / "site"), docker.from_env()), f"fresh{release}"
    clone, caches = folder / "clone", folder / "cache"
    subprocess.run(["git", "clone", "--quiet", REPO, clone], check=True)
    volumes = [f"{clone}:/srv/maia:ro", f"{_caches(caches)}:/srv/cache", *_compiler()]
    server = lab.up(name, lambda text: None, release=release, volumes=volumes)
    made = Fresh(lab, name, release, server)
    script = (
        "mkdir ~/.cache && ln -s /srv/cache ~/.cache/maia"
        " && { [ ! -d /usr/local/go ] || ln -s /usr/local/go/bin/go /usr/local/bin/; }"
        " && export DEBIAN_FRONTEND=noninteractive && apt-get update -q"
        " && apt-get install -qy --no-install-recommends git && git clone -q /srv/maia ~/maia"
    )
    done = server.run("sudo", "-i", "sh", "-c", script)
    assert done.returncode == 0, done.stderr
    yield made
    lab.down(lambda text: None)
    shutil.rmtree(caches)


def _caches(folder: Path) -> Path:
    """A copy of what this machine has compiled and built."""
    for name in ("images", "tools"):
        if (cache() / name).exists():
            left = shutil.ignore_patterns("pool", "work", "*.build-*", "*.lock", "locks")
            shutil.copytree(cache() / name, folder / name, ignore=left)
    folder.mkdir(exist_ok=True)
    return folder


def _compiler() -> list[str]:
    own = shutil.which("go")
    if not own:
        return []
    root = subprocess.run([own, "env", "GOROOT"], capture_output=True, text=True, check=True).stdout.strip()
    return [f"{root}:/usr/local/go:ro"]


def test_one_command_makes_a_bare_machine_an_appliance_that_has_verified_itself(fresh: Fresh) -> None:
    assert fresh.root("command -v docker dockerd mmdebstrap pip").returncode != 0
    said = fresh.maia("up")
    assert " failed" not in said
    assert re.search(r"^checks:  \d+ passed(, \d+ skipped)? in ", said, re.MULTILINE)
    assert fresh.root("docker version --format '{{.Server.Version}}'").stdout.startswith(VERSIONS[fresh.release])


def test_a_second_up_changes_nothing_and_the_clone_is_clean(fresh: Fresh) -> None:
    assert "changes: none\n" in fresh.maia("up")
    assert fresh.maia("doctor").startswith("nothing is wrong\n")
    assert fresh.root("git status --porcelain").stdout == ""


def test_systemd_makes_the_drills_that_were_asked_for(fresh: Fresh) -> None:
    fresh.maia("backup")
    fresh.maia("drill --schedule weekly")
    assert fresh.root("systemctl is-enabled maia-drill-local.timer").stdout == "enabled\n"
    assert "maia-drill-local.service" in fresh.root("systemctl list-timers maia-drill-local.timer").stdout
    done = fresh.root("systemctl start maia-drill-local.service")
    assert done.returncode == 0, fresh.root("journalctl -u maia-drill-local.service --no-pager | tail -40").stdout
    results = "~/.local/state/maia/evidence/local/drills/*.json"
    assert fresh.root(f"grep -h green {results}").stdout == '  "green": true,\n'
    assert fresh.root("docker ps -aq --filter label=maia.stack=local-drill").stdout == ""


def test_a_restart_of_the_machine_brings_the_appliance_back(fresh: Fresh) -> None:
    docker.from_env().containers.get(fresh.server.name).restart(timeout=60)
    fresh.server = fresh.lab.up(fresh.name, lambda text: None, release=fresh.release)
    until(lambda: fresh.root("./maia status").returncode == 0, "all parts are well", 300)
    assert " failed" not in fresh.maia("check")


def test_destroy_leaves_nothing_of_it_on_the_machine(fresh: Fresh) -> None:
    fresh.maia("destroy --yes local")
    networks = "docker network ls --quiet --filter type=custom"
    assert fresh.root(f"docker ps -aq && docker volume ls -q && {networks}").stdout == ""
    assert fresh.root("ls /etc/systemd/system | grep maia").stdout == ""
    assert fresh.root("find ~/.local/state/maia -name '*local*'").stdout == ""
    assert fresh.root("git status --porcelain").stdout == ""


def test_an_image_store_that_names_images_otherwise_is_refused_before_anything_is_made(fresh: Fresh) -> None:
    if fresh.release == "12":
        pytest.skip("Docker 20.10 has one image store")
    setting = '{"features": {"containerd-snapshotter": true}}'
    assert fresh.root(f"echo '{setting}' >/etc/docker/daemon.json && systemctl restart docker").returncode == 0
    refused = fresh.root("./maia up")
    assert refused.returncode == 1
    line = refused.stderr.splitlines()[-1]
    assert line.startswith("maia: docker: Docker keeps images in containerd's store")
    assert line.endswith("; nothing changed yet)")
    assert fresh.root("docker ps -aq; docker images -q").stdout == ""
