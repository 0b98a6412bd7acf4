"""Images that are not made here, the owner's own apps above all: where they come from, and how Docker gets them."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from infra import atomic, registry
from infra.config import Source
from infra.errors import MaiaError
from infra.place import HERE, Place
from infra.site import cache

if TYPE_CHECKING:
    import docker

Say = Callable[[str], None]


@dataclass(frozen=True)
class Loaded:
    """An image that Docker has because `load` brought it.

    Args:
        where: the key of the stack file that asked for it.
        tags: those it came with.
        when: in seconds since 1970.
    """

    id: str
    where: str
    tags: tuple[str, ...]
    when: float


def identity(where: str, source: Source, at: Place = HERE) -> str:
    """The id of an image; empty where only `load` can tell it.

    Every verb plans, so an archive that is gone or a registry that was not asked yet stops none but ``up``.

    Args:
        where: the key of the stack file that names the source.
        at: whose Docker has it where it comes from a registry.

    Raises:
        MaiaError: the archive is none that ``docker save`` would write.
    """
    if source.archive:
        path = Path(source.archive)
        return archived(path, f"{where}.archive") if path.exists() else ""
    assert source.image
    if "@" not in source.image:
        return source.image
    from docker.errors import DockerException

    try:
        return at.docker().images.get(source.image).id or ""
    except DockerException:
        return ""


def archived(path: Path, where: str) -> str:
    """The id of the one image in a docker archive: the SHA-256 of its configuration.

    Raises:
        MaiaError: it is missing, unreadable, or holds anything else than one image.
    """
    try:
        with tarfile.open(path) as archive:
            manifest = json.loads(_read(archive, "manifest.json"))
            if len(manifest) == 1:
                return "sha256:" + hashlib.sha256(_read(archive, manifest[0]["Config"])).hexdigest()
    except FileNotFoundError:
        raise MaiaError(f"{path} does not exist", where=where, mend=_save(path)) from None
    except (tarfile.TarError, EOFError, OSError, KeyError, TypeError, ValueError):
        raise MaiaError(f"{path} is no docker archive", where=where, mend=_save(path)) from None
    raise MaiaError(f"{path} holds {len(manifest)} images", where=where, mend=_save(path))


def _save(path: Path) -> str:
    return f"docker save IMAGE -o {path}"


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    stream = archive.extractfile(name)
    if stream is None:
        raise KeyError(name)
    return stream.read()


def load(client: docker.DockerClient, where: str, source: Source, say: Say) -> None:
    """Have the image in Docker: from its archive or its registry, where it is not there already.

    Raises:
        MaiaError: it cannot be had, or is another one than the stack file asks for.
    """
    from docker.errors import APIError

    where = f"{where}.{'archive' if source.archive else 'image'}"
    wanted = archived(Path(source.archive), where) if source.archive else source.image or ""
    if _there(client, wanted):
        return
    if source.archive:
        path = Path(source.archive)
        say(f"loading {path}")
        try:
            with path.open("rb") as archive:
                client.images.load(archive)
        except (APIError, OSError) as error:
            reason = " ".join(str(getattr(error, "explanation", None) or error).split())
            raise MaiaError(f"{path} cannot be had: {reason}", where=where, mend=_save(path)) from None
    elif "@" in wanted:
        say(f"pulling {wanted}")
        registry.pull(client, wanted, where, say)
    else:
        raise MaiaError(f"no image {wanted}", where=where, mend="docker load it, or name its archive")
    if not _there(client, wanted):
        raise MaiaError(f"{source.archive or wanted} did not bring {wanted}", where=where, mend="save or pull it anew")
    _remember(client, where.rpartition(".")[0], wanted)


def loaded() -> list[Loaded]:
    """What `load` brought; what was in Docker before is the owner's own and not named here."""
    records = {file: json.loads(file.read_text()) for file in sorted(_book().glob("*.json"))}
    return [
        Loaded(one["id"], one["where"], tuple(one["tags"]), file.stat().st_mtime_ns / 1e9)
        for file, one in records.items()
    ]


def forget(identity: str) -> None:
    """The image is none of ours any more."""
    _record(identity).unlink(missing_ok=True)


def _remember(client: docker.DockerClient, where: str, reference: str) -> None:
    image = client.images.get(reference)
    record = _record(image.id or "")
    record.parent.mkdir(parents=True, exist_ok=True)
    atomic.write(record, json.dumps({"id": image.id, "where": where, "tags": image.tags}))


def _book() -> Path:
    return cache() / "loaded"


def _record(identity: str) -> Path:
    return _book() / f"{identity.removeprefix('sha256:')}.json"


def _there(client: docker.DockerClient, reference: str) -> bool:
    from docker.errors import ImageNotFound

    try:
        client.images.get(reference)
    except ImageNotFound:
        return False
    return True
