"""Real builds of one small image, in a cache of their own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest

from infra.errors import MaiaError
from infra.images import debian, layer, store
from infra.images.build import build
from infra.images.recipe import load_all
from infra.images.vendor import vendor
from infra.site import REPO

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="builds and mounts as root")

NAME = "redis"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAIA_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield store.home()


@pytest.fixture(scope="module")
def image(home: Path) -> store.Image:
    return build([NAME], lambda text: None)[NAME]


def members(image: store.Image) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(image.archive) as tar:
        (manifest,) = json.load(tar.extractfile("manifest.json") or pytest.fail("no manifest"))
        found: dict[str, tarfile.TarInfo] = {}
        for name in manifest["Layers"]:
            with tarfile.open(fileobj=tar.extractfile(name)) as inner:
                found |= {member.name: member for member in inner}
    return found


def test_an_image_built_twice_from_the_same_packages_is_the_same_image(image: store.Image) -> None:
    steps: list[str] = []
    again = build([NAME], steps.append, fresh=True)[NAME]
    assert "base: bootstrapping Debian" in steps
    assert f"{NAME}: installing packages" in steps
    assert again.id == image.id


def test_what_is_built_is_not_built_again(image: store.Image) -> None:
    steps: list[str] = []
    assert build([NAME], steps.append)[NAME] == image
    assert steps == []
    assert store.lookup(NAME) == image
    assert {line.name for line in store.inventory()} == set(load_all())


def test_an_image_has_no_compiler_no_package_cache_and_no_set_uid_program(image: store.Image) -> None:
    found = members(image)
    assert "usr/bin/redis-server" in found
    unwanted = ("usr/bin/gcc", "usr/bin/cc", "usr/bin/ld", "usr/bin/make", "usr/bin/apt", "usr/bin/pip", "etc/apt")
    assert not [name for name in unwanted if name in found]
    folders = ("var/lib/apt/", "var/cache/", "var/log/", "usr/share/man/", "usr/share/locale/", "tmp/", "root/")
    assert not [name for name in found if name.startswith(folders) and not name.split("/")[-1].startswith(".wh.")]
    assert not [
        name for name in found if name.startswith("usr/share/doc/") and found[name].isreg() and "copyright" not in name
    ]
    assert not [name for name, member in found.items() if member.isreg() and member.mode & 0o6000]
    assert max(member.mtime for member in found.values()) <= layer.EPOCH


def test_sbom_and_provenance_name_the_image_and_its_exact_packages(image: store.Image) -> None:
    sbom = json.loads((image.folder / "sbom.cdx.json").read_text())
    versions = {each["name"]: each for each in sbom["components"]}
    assert versions["redis-server"]["version"].startswith("5:8.")
    assert len(versions["redis-server"]["hashes"][0]["content"]) == 64
    provenance = json.loads((image.folder / "provenance.json").read_text())
    assert provenance["subject"][0]["digest"]["sha256"] == image.id.removeprefix("sha256:")
    assert provenance["predicate"]["buildDefinition"]["externalParameters"]["mirror"] in {"default", "setting"}


def test_a_loaded_image_runs_as_its_own_user_on_a_read_only_root(image: store.Image) -> None:
    client = docker.from_env()
    store.load(client, image)
    store.load(client, image)
    assert client.images.get(image.tag).id == image.id
    said = client.containers.run(
        image.tag, ["sh", "-c", "id -u; redis-server --version"], remove=True, read_only=True, cap_drop=["ALL"],
        security_opt=["no-new-privileges"], network_mode="none",
    ).decode()  # fmt: skip
    assert said.startswith("702\nRedis server v=8.")


def wait_for(what: str, holds: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"waited {seconds} s for: {what}"
        time.sleep(0.05)


def commands(part: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:  # it ended meanwhile
            continue
    return [command for command in found if part in command]


def test_a_build_killed_at_any_step_leaves_nothing_running_and_the_next_one_succeeds(image: store.Image) -> None:
    program = (
        f"from infra.images.build import build; build([{NAME!r}], lambda text: print(text, flush=True), fresh=True)"
    )
    work = str(store.home() / "work")
    for step in ("base: bootstrapping Debian", f"{NAME}: installing packages"):
        with subprocess.Popen([sys.executable, "-c", program], cwd=REPO, stdout=subprocess.PIPE, text=True) as builder:
            assert builder.stdout
            assert step in (line.strip() for line in builder.stdout), "the build ended before it"
            builder.send_signal(signal.SIGKILL)
        wait_for("its processes are gone", lambda: not commands(work))
        assert work not in Path("/proc/mounts").read_text()
        assert store.lookup(NAME) == image, "what was there stays"
    assert build([NAME], lambda text: None, fresh=True)[NAME].id == image.id
    assert [path.name for path in Path(work).iterdir()] == [".owner"]


def test_an_unreachable_mirror_is_named_with_the_mend(image: store.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = f"http://127.0.0.1:{server.getsockname()[1]}/debian"
    for name in (debian.MIRROR, debian.SECURITY):
        monkeypatch.setenv(name, closed)
    with pytest.raises(MaiaError, match=debian.MIRROR) as caught:
        build([NAME], lambda text: None, fresh=True)
    assert "image base: running apt-get update failed" in str(caught.value)
    assert store.lookup(NAME) == image


def test_a_package_that_does_not_exist_fails_with_image_step_and_mend(
    image: store.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = load_all()[NAME].model_copy(update={"packages": ("no-such-package",)})
    monkeypatch.setattr(store, "load_all", lambda: {NAME: broken})
    with pytest.raises(MaiaError, match="no-such-package") as caught:
        build([NAME], lambda text: None)
    assert f"image {NAME}: fetching packages failed" in str(caught.value)
    assert "correct the packages of the recipe" in str(caught.value)


def test_vendored_packages_give_the_same_image_without_a_mirror(
    image: store.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "vendor"
    vendor(folder, lambda text: None, [NAME])
    for name in (debian.MIRROR, debian.SECURITY):
        monkeypatch.setenv(name, "http://mirror.invalid/debian")
    offline = build([NAME], lambda text: None, vendor=folder)[NAME]
    assert offline.id == image.id
    assert offline.key != image.key
    assert store.lookup(NAME, folder) == offline
    (deb, *_) = folder.glob("redis-server_*.deb")
    deb.write_bytes(deb.read_bytes()[:-1] + b"x")
    with pytest.raises(MaiaError, match="redis-server"):
        build([NAME], lambda text: None, vendor=folder, fresh=True)
