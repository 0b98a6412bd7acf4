"""Postgres 15 as the image of a former release: Debian 12's packages, and what an image of ours adds."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import docker

from infra.catalog.postgres import MAJOR
from infra.images import build, debian, layer, recipe, sandbox, scratch
from infra.releases import version
from infra.site import cache
from infra.toolchain.lock import held
from tests.releases import FIRST, checkout

VERSION = "15"
SUITE = "bookworm"
PACKAGES = ("postgresql-15", "postgresql-15-pgaudit")
START = r"""#!/bin/sh
set -eu
data=/var/lib/postgresql/data
if [ ! -s "$data/PG_VERSION" ]; then
  rm -rf "$data.new"
  initdb --pgdata "$data.new" --username postgres --encoding UTF8 --locale C.UTF-8 --data-checksums \
    --auth-local peer --auth-host scram-sha-256 --no-instructions
  mv -T "$data.new" "$data"
fi
exec postgres -D "$data" -c config_file=/etc/maia/postgresql.conf "$@"
"""
BEFORE = (
    'mkdir -p "$1/etc/postgresql-common"',
    'echo "create_main_cluster = false" >"$1/etc/postgresql-common/createcluster.conf"',
    'echo postgres:x:701: >>"$1/etc/group"',
    'echo postgres:x:701:701::/var/lib/postgresql:/bin/sh >>"$1/etc/passwd"',
)
FOLDERS = "var/lib/postgresql var/spool/pgbackrest run/postgresql"
AFTER = (
    f'cd "$1" && rm -rf etc/postgresql {FOLDERS} usr/share/doc usr/share/locale usr/share/man var/cache/apt',
    f'cd "$1" && mkdir -p {FOLDERS} etc/maia run/secrets && chown 701:701 {FOLDERS} && chmod 750 {FOLDERS}',
    f'cat >"$1/usr/local/bin/start-postgres" <<"END"\n{START}END\nchmod 755 "$1/usr/local/bin/start-postgres"',
)
ABOUT = """
import json
from infra.images import recipe, store
found = recipe.load_all()["postgres"]
key = store.image_key(found)
place = str(store.place("postgres", key))
print(json.dumps({"key": key, "place": place, "tag": store.tag("postgres", key), "config": found.config()}))
"""


def release(folder: Path) -> Path:
    """A program whose Postgres is of the former version, with its image in the store."""
    made = checkout(folder, FIRST, changes={"infra/catalog/postgres.py": ("MAJOR = 17", f"MAJOR = {VERSION}")})
    recipe = made / "infra/images/postgres.yaml"
    recipe.write_text(recipe.read_text().replace("17", VERSION))
    _image(made)
    return made


def present(folder: Path) -> Path:
    """This program, as an upgrade of that one."""
    return checkout(folder, version(), FIRST)


def server(client: docker.DockerClient) -> str:
    """The image's id in Docker, for a server by itself."""
    ours = json.dumps(recipe.load_all()["postgres"].config())
    with held(cache() / "lab" / "postgres15.lock", "postgres15", print), tempfile.TemporaryDirectory() as folder:
        root, archive = _root(), Path(folder) / "image.tar"
        config = json.loads(ours.replace(f"/{MAJOR}/", f"/{VERSION}/"))
        layers = [(root, layer.sha256(root))]
        identity = layer.archive(archive, "maia-test/postgres15:source", config, layers, debian.architecture())
        with archive.open("rb") as file:
            client.images.load(file)
    return identity


def _image(program: Path) -> None:
    command = [sys.executable, "-c", ABOUT]
    environment = os.environ | {"PYTHONPATH": str(program), "PYTHONDONTWRITEBYTECODE": "1"}
    about = json.loads(subprocess.run(command, cwd=program, env=environment, check=True, capture_output=True).stdout)
    place = Path(about["place"])
    with held(cache() / "lab" / "postgres15.lock", "postgres15", print):
        if (place / "record.json").exists():
            return
        root = _root()
        place.mkdir(parents=True, exist_ok=True)
        layers = [(root, layer.sha256(root))]
        identity = layer.archive(place / "image.tar", about["tag"], about["config"], layers, debian.architecture())
        record = {
            "id": identity,
            "key": about["key"],
            "size": root.stat().st_size,
            "packages": _packages(root),
            "used": [],
        }
        (place / "record.json").write_text(json.dumps(record))


def _packages(root: Path) -> list[dict[str, str]]:
    with tarfile.open(root) as archive:
        status = archive.extractfile("./var/lib/dpkg/status")
        assert status
        found = re.findall(r"^Package: (\S+)$.*?^Version: (\S+)$", status.read().decode(), re.MULTILINE | re.DOTALL)
    return [{"name": name, "version": number} for name, number in found]


def _root() -> Path:
    """The file system of the image, made once."""
    mirror = debian.mirror(SUITE, None)
    parts = (SUITE, PACKAGES, BEFORE, AFTER, mirror.lines, debian.architecture())
    archive = cache() / "lab" / f"postgres15-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]}.tar"
    if archive.exists():
        return archive
    build.require()
    with scratch.folder(archive.parent / "work", sandbox.remove) as work:
        command = [
            "mmdebstrap", "--verbose", "--mode=root", "--variant=minbase", "--format=tar", "--components=main",
            f"--keyring={debian.KEYRING}", *(f"--include={package}" for package in PACKAGES),
            *(f"--aptopt={option}" for option in (*debian.BOUNDS, *debian.CHOICES)), "--dpkgopt=force-unsafe-io",
            *(f"--essential-hook={hook}" for hook in BEFORE), *(f"--customize-hook={hook}" for hook in AFTER),
            SUITE, str(work / "root.tar"), *mirror.lines,
        ]  # fmt: skip
        sandbox.execute("postgres15", command, work / "build.log", print, {"TMPDIR": str(work)})
        for older in archive.parent.glob("postgres15-*.tar"):
            older.unlink()
        os.replace(work / "root.tar", archive)
    return archive
