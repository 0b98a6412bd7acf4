"""Images of the owner's own apps: where they come from, and how Docker gets them."""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path

import docker
from docker.errors import APIError, ImageNotFound

from infra.config import App
from infra.errors import MaiaError


def reference(name: str, app: App) -> str:
    """What names the app's image beyond doubt: its id, or a registry reference with a digest.

    Raises:
        MaiaError: the archive is missing or none that ``docker save`` would write.
    """
    return app.image or archived(Path(app.archive or ""), where=f"maia:apps.{name}.archive")


def archived(path: Path, where: str) -> str:
    """The id of the one image in a docker archive: the SHA-256 of its configuration."""
    try:
        with tarfile.open(path) as archive:
            manifest = json.loads(_read(archive, "manifest.json"))
            if len(manifest) != 1:
                raise MaiaError(f"{path} holds {len(manifest)} images", where=where, mend="save just one image into it")
            return "sha256:" + hashlib.sha256(_read(archive, manifest[0]["Config"])).hexdigest()
    except FileNotFoundError:
        raise MaiaError(f"{path} does not exist", where=where, mend="docker save IMAGE -o " + str(path)) from None
    except (tarfile.TarError, OSError, KeyError, ValueError):
        raise MaiaError(f"{path} is no docker archive", where=where, mend="docker save IMAGE -o " + str(path)) from None


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    stream = archive.extractfile(name)
    if stream is None:
        raise KeyError(name)
    return stream.read()


def load(client: docker.DockerClient, name: str, app: App) -> None:
    """Have the app's image in Docker; an image that only an id names must be there already."""
    wanted = reference(name, app)
    try:
        client.images.get(wanted)
        return
    except ImageNotFound:
        pass
    try:
        if app.archive:
            with Path(app.archive).open("rb") as archive:
                client.images.load(archive)
        elif "@" in wanted:
            client.images.pull(wanted)
        else:
            raise MaiaError(f"no image {wanted}", where=f"maia:apps.{name}.image", mend="docker load it first")
    except (APIError, OSError) as error:
        raise MaiaError(
            f"{wanted} cannot be had: {error}", where=f"maia:apps.{name}", mend="check its source"
        ) from None
