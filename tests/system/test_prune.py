"""Images that may go, in the real Docker; none but those of these tests is touched."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from docker.errors import ImageNotFound

from infra import owner, prune
from infra.config import Source
from infra.images import debian, layer, store
from infra.prune import Item, images
from infra.site import Site

NAME = "prune-test"
APP = "prune-test-app"


def archive(folder: Path, content: str, tag: str, title: str = "") -> tuple[Path, str]:
    """An image of one small layer: its archive and its id."""
    inner, out = folder / f"{content}.layer", folder / f"{content}.tar"
    with tarfile.open(inner, "w") as tar:
        member = tarfile.TarInfo("content")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content.encode()))
    digest = hashlib.sha256(inner.read_bytes()).hexdigest()
    labels = {"Labels": {images.TITLE: title}} if title else {}
    return out, layer.archive(out, tag, {"Cmd": ["/content"], **labels}, [(inner, digest)], debian.architecture())


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[docker.DockerClient]:
    """Docker, with a cache of the test's own, so that it loaded what the test loads and nothing else."""
    monkeypatch.setenv("MAIA_CACHE", str(tmp_path / "cache"))
    made = docker.from_env()
    yield made
    for image in made.images.list():
        if any(NAME in tag for tag in image.tags):
            made.images.remove(str(image.id), force=True)


def load(client: docker.DockerClient, folder: Path, number: int, title: str = f"maia/{NAME}") -> str:
    key = f"{number:064x}"[::-1]
    file, identity = archive(folder, f"content {number}", store.tag(NAME, key), title)
    file.rename(folder / "image.tar")
    store.load(client, store.Image(NAME, key, folder, identity, 0, 0))
    return identity


def stale(client: docker.DockerClient, keep: int = 1, *used: str) -> dict[str, Item]:
    """By short id, what may go of the images of these tests."""
    found = (item for item in images.stale(client, keep, used) if NAME in item.what)
    return {item.what.split()[1]: item for item in found}


def short(*identities: str) -> set[str]:
    return {identity.removeprefix("sha256:")[:12] for identity in identities}


def there(client: docker.DockerClient, identity: str) -> bool:
    try:
        client.images.get(identity)
    except ImageNotFound:
        return False
    return True


def test_of_what_was_made_here_the_newest_and_what_is_used_stay(client: docker.DockerClient, tmp_path: Path) -> None:
    first, second, third, fourth = (load(client, tmp_path, number) for number in range(1, 5))
    foreign = load(client, tmp_path, 9, title="somebody else's")
    assert stale(client, 1, second).keys() == short(first, third)
    assert stale(client, 0).keys() == short(first, second, third, fourth)
    item = stale(client, 1, second)[first.removeprefix("sha256:")[:12]]
    assert item.size == len("content 1")
    assert item.remove()
    assert not there(client, first)
    assert all(there(client, each) for each in (second, third, fourth, foreign))


def test_an_image_that_a_container_came_to_use_is_left_and_so_is_a_name_of_the_owners(
    client: docker.DockerClient, tmp_path: Path
) -> None:
    used, named = load(client, tmp_path, 1), load(client, tmp_path, 2)
    client.images.get(named).tag(f"{NAME}-mine", "1")
    items = stale(client, 0)
    container = client.containers.create(used)
    try:
        assert used in prune.in_use(Site(tmp_path / "site"), client)
        assert not items[used.removeprefix("sha256:")[:12]].remove()
    finally:
        container.remove()
    assert there(client, used)
    assert items[named.removeprefix("sha256:")[:12]].remove()
    assert client.images.get(named).tags == [f"{NAME}-mine:1"]


def test_an_owners_app_goes_when_it_was_loaded_here_and_stays_when_it_was_there(
    client: docker.DockerClient, tmp_path: Path
) -> None:
    own, own_id = archive(tmp_path, "own", f"{APP}:own")
    with own.open("rb") as stream:
        client.images.load(stream)
    ids = []
    for number in (1, 2, 3):
        file, identity = archive(tmp_path, f"version {number}", f"{APP}:{number}")
        owner.load(client, f"maia:apps.{NAME}", Source(archive=str(file)), lambda text: None)
        ids.append(identity)
    owner.load(client, f"maia:apps.{NAME}", Source(archive=str(own)), lambda text: None)
    assert stale(client, 1).keys() == short(*ids[:2])
    for item in stale(client, 1).values():
        assert item.remove()
    assert [there(client, each) for each in (*ids, own_id)] == [False, False, True, True]
    assert {record.id for record in owner.loaded()} == {ids[2]}
