"""Files on a machine that containers mount, and folders for their sockets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pulumi
from pulumi.dynamic import Resource

from infra import atomic, place
from infra.components.dynamic import Properties, Provider
from infra.place import HERE, Place


class FilesProvider(Provider):
    replaces = ("root",)

    def identity(self, props: Properties) -> str:
        return str(props["root"])

    def ensure(self, props: Properties) -> Properties:
        place.of(props).call(
            atomic.fill,
            props["root"],
            props["files"],
            uid=int(props["uid"]),
            gid=int(props["gid"]),
            private=props["private"],
        )
        return {}

    def observe(self, props: Properties) -> Properties | None:
        files = place.of(props).call(atomic.look, props["root"])
        return None if files is None else {"files": files}

    def remove(self, props: Properties) -> None:
        place.of(props).call(atomic.clear, props["root"])


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
        at: Place = HERE,
        opts: pulumi.ResourceOptions,
    ) -> None:
        uid, gid = (int(part) for part in user.split(":"))
        props: dict[str, Any] = {"root": str(root), "files": files, "uid": uid, "gid": gid, "private": private}
        props |= at.inputs
        if private:
            opts = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(additional_secret_outputs=["files"]))
        super().__init__(FilesProvider(), name, props, opts)


class FolderProvider(Provider):
    replaces = ("path",)

    def identity(self, props: Properties) -> str:
        return str(props["path"])

    def ensure(self, props: Properties) -> Properties:
        place.of(props).call(atomic.own, props["path"], int(props["uid"]), int(props["gid"]))
        return {}

    def observe(self, props: Properties) -> Properties | None:
        found = place.of(props).call(atomic.owner, props["path"])
        return {"uid": found[0], "gid": found[1]} if found else None

    def remove(self, props: Properties) -> None:
        place.of(props).call(atomic.clear, props["path"])


class Folder(Resource, module="maia", name="Folder"):
    """A folder that one container's user owns, for its administrative socket."""

    path: pulumi.Output[str]

    def __init__(self, name: str, *, path: Path, user: str, at: Place, opts: pulumi.ResourceOptions) -> None:
        uid, gid = (int(part) for part in user.split(":"))
        props = {"path": str(path), "uid": uid, "gid": gid} | dict(at.inputs)
        super().__init__(FolderProvider(), name, props, opts)
