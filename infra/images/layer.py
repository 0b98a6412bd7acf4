"""Layers and `docker load` archives whose bytes depend on their content alone."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import tarfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

# The day Debian 13 came out. Nothing in an image is newer, so that the time of a build cannot show in its id.
EPOCH = 1754697600
CREATED = datetime.fromtimestamp(EPOCH, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

CHUNK = 2**20
TAR_END = bytes(1024)
"""What a tar archive ends with."""


class Entry(NamedTuple):
    """All of a path that an image keeps; times and extended attributes are not."""

    type: str
    mode: int
    uid: int
    gid: int
    content: str


def scan(root: Path) -> dict[str, Entry]:
    """Every path below ``root``. Device nodes and sockets are left out, set-uid and set-gid bits of files dropped."""
    found: dict[str, Entry] = {}
    for folder, folders, files in os.walk(root):
        for name in folders + files:
            path = os.path.join(folder, name)
            entry = _entry(path)
            if entry:
                found[os.path.relpath(path, root)] = entry
    return found


def _entry(path: str) -> Entry | None:
    info = os.lstat(path)
    mode = stat.S_IMODE(info.st_mode)
    if stat.S_ISDIR(info.st_mode):
        return Entry("dir", mode, info.st_uid, info.st_gid, "")
    if stat.S_ISLNK(info.st_mode):
        return Entry("link", 0o777, info.st_uid, info.st_gid, os.readlink(path))
    if stat.S_ISREG(info.st_mode):
        return Entry("file", mode & 0o777, info.st_uid, info.st_gid, sha256(Path(path)))
    return None


def sha256(path: Path) -> str:
    """The hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write(root: Path, tree: Mapping[str, Entry], below: Mapping[str, Entry], out: Path) -> str:
    """Writes what ``tree`` (a scan of ``root``) has beyond ``below`` as a layer; returns its diff id in hex.

    The directories above a change are written too: Docker would make them anew with the wrong mode.
    Hard links inside the layer stay links; a file whose other name is in ``below`` becomes a copy.
    """
    wanted = {path for path, entry in tree.items() if below.get(path) != entry}
    gone = {path for path in below if path not in tree and _is_dir(tree, _parent(path))}
    for path in wanted | gone:
        while path := _parent(path):
            wanted.add(path)
    whiteouts = {os.path.join(_parent(path), f".wh.{os.path.basename(path)}") for path in gone}
    first: dict[int, str] = {}
    with tarfile.open(out, "w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(wanted | whiteouts):
            if path in whiteouts:
                tar.addfile(_member(path, 0o644))
            else:
                _add(tar, root, path, tree[path], first)
    return sha256(out)


def _parent(path: str) -> str:
    return os.path.dirname(path)


def _is_dir(tree: Mapping[str, Entry], path: str) -> bool:
    return not path or (path in tree and tree[path].type == "dir")


def _member(name: str, mode: int, uid: int = 0, gid: int = 0) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.mode, member.uid, member.gid, member.mtime = mode, uid, gid, EPOCH
    return member


def _add(tar: tarfile.TarFile, root: Path, path: str, entry: Entry, first: dict[int, str]) -> None:
    member = _member(path, entry.mode, entry.uid, entry.gid)
    info = os.lstat(root / path)
    member.mtime = min(int(info.st_mtime), EPOCH)
    if entry.type == "dir":
        member.type, member.mtime = tarfile.DIRTYPE, EPOCH
        tar.addfile(member)
    elif entry.type == "link":
        member.type, member.linkname, member.mtime = tarfile.SYMTYPE, entry.content, EPOCH
        tar.addfile(member)
    elif info.st_nlink > 1 and first.setdefault(info.st_ino, path) != path:
        member.type, member.linkname = tarfile.LNKTYPE, first[info.st_ino]
        tar.addfile(member)
    else:
        member.size = info.st_size
        with (root / path).open("rb") as file:
            tar.addfile(member, file)


def archive(out: Path, tag: str, config: Mapping[str, Any], layers: Sequence[tuple[Path, str]], arch: str) -> str:
    """Writes a `docker load` archive of ``layers`` (file, diff id); returns the image id ``sha256:…``."""
    image = _json(
        {
            "architecture": arch,
            "os": "linux",
            "created": CREATED,
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for _, digest in layers]},
            "history": [{"created": CREATED, "created_by": "maia images"} for _ in layers],
        }
    )
    identity = hashlib.sha256(image).hexdigest()
    names = [f"{digest}/layer.tar" for _, digest in layers]
    manifest = _json([{"Config": f"{identity}.json", "RepoTags": [tag], "Layers": names}])
    with tarfile.open(out, "w", format=tarfile.PAX_FORMAT) as tar:
        _put(tar, f"{identity}.json", io.BytesIO(image), len(image))
        _put(tar, "manifest.json", io.BytesIO(manifest), len(manifest))
        for name, (path, _) in zip(names, layers, strict=True):
            with path.open("rb") as file:
                _put(tar, name, file, path.stat().st_size)
    return f"sha256:{identity}"


def without(path: Path, there: Collection[Sequence[str]]) -> tuple[int, Iterator[bytes]]:
    """The archive at ``path`` without what a Docker has of its lowest layers: its size, and its bytes.

    `docker load` opens no layer that it has upon just those that are below it.

    Args:
        there: the diff ids of each image it has, the lowest first.
    """
    with tarfile.open(path) as tar:
        (manifest,) = json.load(_content(tar, "manifest.json"))
        ids: list[str] = json.load(_content(tar, manifest["Config"]))["rootfs"]["diff_ids"]
        known = max((_common(ids, each) for each in there), default=0)
        left = set(manifest["Layers"][:known])
        members = tar.getmembers()
    ends = [*(member.offset for member in members[1:]), members[-1].offset_data + -(-members[-1].size // 512) * 512]
    ranges = [(each.offset, end) for each, end in zip(members, ends, strict=True) if each.name not in left]
    return sum(end - begin for begin, end in ranges) + len(TAR_END), _read(path, ranges)


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other)))


def _read(path: Path, ranges: Sequence[tuple[int, int]]) -> Iterator[bytes]:
    with path.open("rb") as file:
        for begin, end in ranges:
            file.seek(begin)
            while begin < end:
                chunk = file.read(min(CHUNK, end - begin))
                begin += len(chunk)
                yield chunk
    yield TAR_END


def _content(tar: tarfile.TarFile, name: str) -> IO[bytes]:
    found = tar.extractfile(name)
    assert found
    return found


def _put(tar: tarfile.TarFile, name: str, content: IO[bytes], size: int) -> None:
    member = _member(str(PurePosixPath(name)), 0o644)
    member.size = size
    tar.addfile(member, content)


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
