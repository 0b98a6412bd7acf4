"""Files on the machine that containers mount, and folders for their sockets."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pulumi
from pulumi.dynamic import Resource

from infra import atomic
from infra.components.dynamic import Properties, Provider


def write(root: Path, files: dict[str, str], *, uid: int, gid: int, private: bool) -> None:
    """Make ``root`` hold just ``files`` (relative path to text).

    Private files are 0400 and their folder 0500, both owned by ``uid``; others belong to root and are 0444.
    Each file changes at once: a reader sees the old text or the new one.
    """
    owner, folder_mode, mode = ((uid, gid), 0o500, 0o400) if private else ((0, 0), 0o755, 0o444)
    root.mkdir(parents=True, exist_ok=True)
    os.chmod(root, 0o700 if private else folder_mode)  # a part may be reading there
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write(path, text, mode=mode, owner=owner)
    for path in sorted(root.rglob("*"), reverse=True):
        if path.is_dir():
            os.chown(path, *owner)
            os.chmod(path, folder_mode)
        elif str(path.relative_to(root)) not in files:
            path.unlink()
    os.chown(root, *owner)
    os.chmod(root, folder_mode)


def look(root: Path) -> dict[str, str] | None:
    """The files below ``root`` as they are, or None where there is no such folder."""
    if not root.is_dir():
        return None
    return {
        str(path.relative_to(root)): path.read_text(errors="replace")
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


class FilesProvider(Provider):
    replaces = ("root",)

    def identity(self, props: Properties) -> str:
        return str(props["root"])

    def ensure(self, props: Properties) -> Properties:
        write(
            Path(props["root"]),
            props["files"],
            uid=int(props["uid"]),
            gid=int(props["gid"]),
            private=props["private"],
        )
        return {}

    def observe(self, props: Properties) -> Properties | None:
        files = look(Path(props["root"]))
        return None if files is None else {"files": files}

    def remove(self, props: Properties) -> None:
        shutil.rmtree(props["root"], ignore_errors=True)


class Files(Resource, module="maia", name="Files"):
    """A folder of rendered files."""

    files: pulumi.Output[dict[str, str]]
    root: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        root: Path,
        files: pulumi.Input[dict[str, str]],
        user: str,
        private: bool,
        opts: pulumi.ResourceOptions,
    ) -> None:
        uid, gid = (int(part) for part in user.split(":"))
        props: dict[str, Any] = {"root": str(root), "files": files, "uid": uid, "gid": gid, "private": private}
        if private:
            opts = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(additional_secret_outputs=["files"]))
        super().__init__(FilesProvider(), name, props, opts)


class FolderProvider(Provider):
    replaces = ("path",)

    def identity(self, props: Properties) -> str:
        return str(props["path"])

    def ensure(self, props: Properties) -> Properties:
        path = Path(props["path"])
        path.mkdir(parents=True, exist_ok=True)
        os.chown(path, int(props["uid"]), int(props["gid"]))
        os.chmod(path, 0o700)
        return {}

    def observe(self, props: Properties) -> Properties | None:
        try:
            found = os.stat(props["path"])
        except FileNotFoundError:
            return None
        return {"uid": found.st_uid, "gid": found.st_gid}

    def remove(self, props: Properties) -> None:
        shutil.rmtree(props["path"], ignore_errors=True)


class Folder(Resource, module="maia", name="Folder"):
    """A folder that one container's user owns, for its administrative socket."""

    path: pulumi.Output[str]

    def __init__(self, name: str, *, path: Path, user: str, opts: pulumi.ResourceOptions) -> None:
        uid, gid = (int(part) for part in user.split(":"))
        super().__init__(FolderProvider(), name, {"path": str(path), "uid": uid, "gid": gid}, opts)
