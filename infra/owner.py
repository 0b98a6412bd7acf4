"""Images of the owner's own apps: where they come from, and how Docker gets them."""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path

import docker
from docker.errors import APIError, DockerException, ImageNotFound

from infra.config import App
from infra.errors import MaiaError


def identity(name: str, app: App) -> str:
    """The id of the app's image; empty where only `load` can tell it.

    Every verb plans, so an archive that is gone or a registry that was not asked yet stops none but ``up``.

    Raises:
        MaiaError: the archive is none that ``docker save`` would write.
    """
    if app.archive:
        path = Path(app.archive)
        return archived(path, f"maia:apps.{name}.archive") if path.exists() else ""
    assert app.image
    if "@" not in app.image:
        return app.image
    try:
        return docker.from_env().images.get(app.image).id or ""
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


def load(client: docker.DockerClient, name: str, app: App) -> None:
    """Have the app's image in Docker: from its archive or its registry, where it is not there already.

    Raises:
        MaiaError: it cannot be had, or is another one than the stack file asks for.
    """
    where = f"maia:apps.{name}.{'archive' if app.archive else 'image'}"
    wanted = archived(Path(app.archive), where) if app.archive else app.image or ""
    if _there(client, wanted):
        return
    if not app.archive and "@" not in wanted:
        raise MaiaError(f"no image {wanted}", where=where, mend="docker load it, or name its archive")
    try:
        if app.archive:
            with Path(app.archive).open("rb") as archive:
                client.images.load(archive)
        else:
            client.images.pull(wanted)
    except (APIError, OSError) as error:
        reason = " ".join(str(getattr(error, "explanation", None) or error).split())
        raise MaiaError(
            f"{app.archive or wanted} cannot be had: {reason}", where=where, mend="check its source"
        ) from None
    if not _there(client, wanted):
        raise MaiaError(f"{app.archive or wanted} did not bring {wanted}", where=where, mend="save or pull it anew")


def _there(client: docker.DockerClient, reference: str) -> bool:
    try:
        client.images.get(reference)
    except ImageNotFound:
        return False
    return True
