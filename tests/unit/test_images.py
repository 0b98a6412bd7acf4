from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from infra.errors import MaiaError
from infra.images import debian, evidence, layer, recipe, scratch, store

PLAIN = "description: d\nuser: {name: x, uid: 790, gid: 790}\ncmd: [x]\n"


def refused(folder: Path, text: str) -> str:
    (folder / "x.yaml").write_text(text)
    with pytest.raises(MaiaError) as caught:
        recipe.load_all(folder)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (PLAIN + "pakages: [a]\n", ("pakages", "unknown key", "packages")),
        (PLAIN + "files: [{path: /a, content: b, mod: '0644'}]\n", ("files.0.mod", "unknown key", "mode")),
        (PLAIN + "files: [{path: /a}]\n", ("files.0", "either content or source")),
        (PLAIN + "files: [{path: /a, source: infra/no-such}]\n", ("infra/no-such",)),
        (PLAIN + "files: [{path: /a, content: b, mode: 0644}]\n", ("files.0.mode",)),
        (PLAIN + "packages: redis\n", ("packages", "'redis'")),
        (PLAIN.replace("790", "0"), ("user.uid", "700", "found 0")),
        (PLAIN.replace("cmd: [x]\n", ""), ("entrypoint or cmd",)),
        (PLAIN.replace("description: d\n", ""), ("description", "missing")),
        (PLAIN + "name: y\n", ("name", "file name")),
        ("[]", ("mapping",)),
        ("a: [", ("cannot be read",)),
    ],
)
def test_a_wrong_recipe_is_refused_with_its_file_and_key(tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    said = refused(tmp_path, text)
    assert "x.yaml" in said
    for word in words:
        assert word in said


def test_two_users_may_not_share_an_id_and_two_images_may_share_a_user(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(PLAIN)
    assert set(recipe.load_all(tmp_path)) == {"a", "b"}
    assert "790 belongs to a" in refused(tmp_path, PLAIN.replace("name: x", "name: y"))


def test_every_image_of_ours_has_a_user_of_its_own_who_is_not_root() -> None:
    recipes = recipe.load_all()
    assert len({each.user.uid for each in recipes.values()}) == len({each.user for each in recipes.values()})
    assert all(each.config()["User"] == f"{each.user.uid}:{each.user.gid}" for each in recipes.values())
    assert all(each.user.uid >= 700 for each in recipes.values())


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(recipe, "REPO", tmp_path)
    monkeypatch.setattr(store, "REPO", tmp_path)
    for name in ("conf", "other", "app.lock"):
        (tmp_path / name).write_text("one")
    (tmp_path / "app" / "__pycache__").mkdir(parents=True)
    (tmp_path / "app" / "main.py").write_text("one")
    (tmp_path / "x.yaml").write_text(
        PLAIN + "files: [{path: /etc/conf, source: conf}]\npython: {lock: app.lock, trees: [app]}\ntools: [minio]\n"
    )
    return tmp_path


def key(repository: Path, vendor: Path | None = None) -> str:
    return store.image_key(recipe.load(repository / "x.yaml", recipe.Recipe), vendor)


@pytest.mark.parametrize("name", ["conf", "app.lock", "app/main.py", "app/new.py"])
def test_a_change_of_what_goes_in_is_another_key(repository: Path, name: str) -> None:
    before = key(repository)
    (repository / name).write_text("two")
    assert key(repository) != before


@pytest.mark.parametrize("name", ["other", "app/__pycache__/main.pyc", "app/requirements.in"])
def test_a_change_of_what_stays_out_is_the_same_key(repository: Path, name: str) -> None:
    before = key(repository)
    (repository / name).write_text("two")
    assert key(repository) == before


def test_a_folder_of_vendored_packages_is_part_of_the_key(repository: Path) -> None:
    (repository / debian.SUMS).write_text("")
    assert key(repository, repository) != key(repository)


def plant(root: Path) -> None:
    (root / "etc").mkdir(parents=True)
    (root / "etc/kept").write_text("kept")
    (root / "etc/changed").write_text("before")
    (root / "etc/gone").write_text("gone")
    (root / "srv/old/deep").mkdir(parents=True)
    (root / "srv/old/deep/file").write_text("gone")
    (root / "tmp").mkdir(mode=0o777)
    (root / "tmp").chmod(0o1777)


def change(root: Path) -> None:
    (root / "etc/changed").write_text("after!")
    (root / "etc/gone").unlink()
    (root / "srv/old/deep/file").unlink()
    (root / "srv/old/deep").rmdir()
    (root / "srv/old").rmdir()
    (root / "tmp/new").write_text("new")
    (root / "tmp/new").chmod(0o4755)
    os.link(root / "tmp/new", root / "tmp/same")
    os.link(root / "etc/kept", root / "etc/again")
    (root / "etc/link").symlink_to("kept")


def difference(folder: Path, out: Path) -> tuple[str, dict[str, tarfile.TarInfo]]:
    plant(folder)
    below = layer.scan(folder)
    change(folder)
    digest = layer.write(folder, layer.scan(folder), below, out)
    with tarfile.open(out) as tar:
        return digest, {member.name: member for member in tar}


def test_a_layer_holds_the_difference_and_the_folders_above_it(tmp_path: Path) -> None:
    _, members = difference(tmp_path / "root", tmp_path / "layer.tar")
    assert sorted(members) == [
        "etc", "etc/.wh.gone", "etc/again", "etc/changed", "etc/link",
        "srv", "srv/.wh.old",
        "tmp", "tmp/new", "tmp/same",
    ]  # fmt: skip
    assert members["tmp"].mode == 0o1777
    assert members["tmp/same"].islnk()
    assert members["tmp/same"].linkname == "tmp/new"
    assert members["etc/again"].isreg(), "its other name is in the layer below"
    assert members["etc/link"].linkname == "kept"
    assert members["tmp/new"].mode == 0o755, "no set-uid program comes into an image"
    assert max(member.mtime for member in members.values()) <= layer.EPOCH


def test_the_same_tree_is_the_same_layer_whenever_and_wherever_it_was_made(tmp_path: Path) -> None:
    first, _ = difference(tmp_path / "a", tmp_path / "a.tar")
    second, _ = difference(tmp_path / "elsewhere/b", tmp_path / "b.tar")
    later = layer.EPOCH + 86400 * 365
    for path in (tmp_path / "elsewhere/b").rglob("*"):
        os.utime(path, (later, later), follow_symlinks=False)
    assert first == second
    assert layer.write(tmp_path / "elsewhere/b", layer.scan(tmp_path / "elsewhere/b"), {}, tmp_path / "c.tar") == (
        layer.write(tmp_path / "a", layer.scan(tmp_path / "a"), {}, tmp_path / "d.tar")
    )


def test_of_an_archive_only_the_layers_above_what_is_there_are_taken(tmp_path: Path) -> None:
    layers = []
    for name, content in (("base", b"b" * 5000), ("middle", b"m" * 700), ("top", b"t")):
        (tmp_path / name).write_bytes(content)
        layers.append((tmp_path / name, layer.sha256(tmp_path / name)))
    path = tmp_path / "image.tar"
    layer.archive(path, "maia/x:1", {}, layers, "amd64")
    base, middle, top = (f"sha256:{digest}" for _, digest in layers)

    def sent(*there: tuple[str, ...]) -> set[str]:
        size, chunks = layer.without(path, there)
        data = b"".join(chunks)
        assert len(data) == size
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            names = tar.getnames()
            assert "manifest.json" in names
            return {f"sha256:{name.removesuffix('/layer.tar')}" for name in names if name.endswith("/layer.tar")}

    assert sent() == {base, middle, top}
    assert sent((base, "sha256:other"), (top,)) == {middle, top}
    assert sent((base, middle), (base,)) == {top}
    assert sent((middle, top)) == {base, middle, top}, "upon another layer it is not the same"
    assert sent((base, middle, top)) == set()


def test_an_archive_names_its_layers_by_their_content(tmp_path: Path) -> None:
    digest, _ = difference(tmp_path / "root", tmp_path / "layer.tar")
    made = [
        layer.archive(tmp_path / name, "maia/x:1", {"User": "790:790"}, [(tmp_path / "layer.tar", digest)], "amd64")
        for name in ("a.tar", "b.tar")
    ]
    assert made[0] == made[1]
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    with tarfile.open(tmp_path / "a.tar") as tar:
        (manifest,) = json.load(tar.extractfile("manifest.json") or pytest.fail("no manifest"))
        config = json.load(tar.extractfile(manifest["Config"]) or pytest.fail("no config"))
    assert made[0] == "sha256:" + manifest["Config"].removesuffix(".json")
    assert config["rootfs"]["diff_ids"] == [f"sha256:{digest}"]
    assert manifest["RepoTags"] == ["maia/x:1"]


def test_one_mirror_without_the_other_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(debian.SECURITY, raising=False)
    monkeypatch.setenv(debian.MIRROR, "http://mirror.invalid/debian")
    with pytest.raises(MaiaError, match=debian.SECURITY):
        debian.mirror("trixie", None)
    monkeypatch.setenv(debian.SECURITY, "mirror.invalid")
    with pytest.raises(MaiaError, match="is not the address of a mirror"):
        debian.mirror("trixie", None)


def test_a_vendored_file_that_changed_or_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MaiaError, match=debian.SUMS):
        debian.mirror("trixie", tmp_path)
    (tmp_path / "a.deb").write_text("a")
    (tmp_path / debian.SUMS).write_text(f"{layer.sha256(tmp_path / 'a.deb')}  a.deb\n")
    debian.verify(tmp_path)
    (tmp_path / "a.deb").write_text("b")
    with pytest.raises(MaiaError, match=r"a\.deb"):
        debian.verify(tmp_path)
    (tmp_path / "a.deb").unlink()
    with pytest.raises(MaiaError, match="missing"):
        debian.verify(tmp_path)


def test_installed_packages_are_read_with_the_digests_of_their_files(tmp_path: Path) -> None:
    status = tmp_path / "var/lib/dpkg/status"
    status.parent.mkdir(parents=True)
    status.write_text(
        "Package: b\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1:2+x-1\n\n"
        "Package: a\nStatus: deinstall ok config-files\nArchitecture: all\nVersion: 3\n"
    )
    (package,) = debian.installed(tmp_path, {"b_1%3a2+x-1_amd64.deb": "digest"})
    assert package.purl == "pkg:deb/debian/b@1%3A2%2Bx-1?arch=amd64&distro=debian-13"
    assert package.sha256 == "digest"


def test_an_sbom_names_each_component_once_and_is_the_same_for_the_same_image() -> None:
    package = debian.Package("a", "1", "amd64", "0" * 64).as_dict()
    components = evidence.debian_components([package, package])
    document = evidence.sbom("x", "sha256:1", components)
    assert [each["purl"] for each in document["components"]] == [package["purl"]]
    assert document == evidence.sbom("x", "sha256:1", components)
    assert document["serialNumber"] != evidence.sbom("x", "sha256:2", components)["serialNumber"]


def test_a_work_folder_of_a_killed_process_is_cleared_away_and_a_live_one_is_not(tmp_path: Path) -> None:
    def clear(path: Path) -> None:
        subprocess.run(["rm", "-rf", path], check=True)

    program = (
        "import sys, signal, pathlib; from infra.images import scratch\n"
        f"with scratch.folder(pathlib.Path({str(tmp_path)!r}), print) as path: print(path, flush=True); signal.pause()"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout
        theirs = Path(other.stdout.readline().strip())
        with scratch.folder(tmp_path, clear) as ours:
            assert ours.is_dir()
            assert theirs.is_dir()
        other.send_signal(signal.SIGKILL)
        other.wait()
    with scratch.folder(tmp_path, clear) as ours:
        assert ours.is_dir()
        assert not theirs.exists()
    assert not ours.exists()
