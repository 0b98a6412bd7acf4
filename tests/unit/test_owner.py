"""An owner's image is named beyond doubt by its archive, and a bad source is told by key, before anything changes."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra import owner
from infra.config import App
from infra.errors import MaiaError

WHERE = "maia:apps.web.archive"
Save = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Writes an archive as ``docker save`` does, of the given members."""

    def write(members: dict[str, Any], mode: str = "w") -> Path:
        path = tmp_path / "image.tar"
        with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
            for name, value in members.items():
                data = value if isinstance(value, bytes) else json.dumps(value).encode()
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
        return path

    return write


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize("name", ["0a1b.json", "blobs/sha256/0a1b"])
def test_the_id_is_that_of_the_configuration(save: Save, mode: str, name: str) -> None:
    config = b'{"architecture":"amd64"}'
    path = save({name: config, "manifest.json": [{"Config": name}]}, mode)
    assert owner.archived(path, WHERE) == "sha256:" + hashlib.sha256(config).hexdigest()


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ({}, "is no docker archive"),
        ({"manifest.json": b"not json"}, "is no docker archive"),
        ({"manifest.json": {"Config": "x"}}, "is no docker archive"),
        ({"manifest.json": [{}]}, "is no docker archive"),
        ({"manifest.json": [{"Config": "missing.json"}]}, "is no docker archive"),
        ({"manifest.json": []}, "holds 0 images"),
        ({"manifest.json": [{"Config": "a"}, {"Config": "b"}]}, "holds 2 images"),
    ],
)
def test_an_archive_of_anything_else_is_refused(save: Save, members: dict[str, Any], says: str) -> None:
    path = save(members)
    with pytest.raises(MaiaError) as refused:
        owner.archived(path, WHERE)
    assert str(refused.value) == f"{WHERE}: {path} {says} (docker save IMAGE -o {path})"


@pytest.mark.parametrize("content", [b"", b"no archive at all", b"\x1f\x8b cut short"])
def test_a_file_that_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "image.tar"
    path.write_bytes(content)
    with pytest.raises(MaiaError, match="is no docker archive"):
        owner.archived(path, WHERE)


def test_an_archive_that_is_gone_stops_no_verb_but_the_one_that_loads_it(tmp_path: Path) -> None:
    path = tmp_path / "gone.tar"
    assert owner.identity(WHERE, App(archive=str(path))) == ""
    with pytest.raises(MaiaError, match="does not exist"):
        owner.archived(path, WHERE)


def test_an_image_by_id_is_itself() -> None:
    identity = "sha256:" + "a" * 64
    assert owner.identity(WHERE, App(image=identity)) == identity
