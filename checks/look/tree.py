"""Files: whose they are, who may open them, and what stands out among all of them."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from checks.look.means import ROOT, Ask, read

ELSEWHERE = ("/proc", "/sys", "/dev", "/run", "/var/lib/docker", "/var/lib/containerd")
"""What is not the system's own."""
PARTS = "/var/lib/maia/stacks/"
"""Files of the parts, whose users are known in their images only."""
MANY = 20
"""How many of those that stand out are told."""


def _name(of: Any, number: int) -> str:
    try:
        return str(of(number)[0])
    except KeyError:
        return str(number)


def files(ask: Ask) -> Any:
    """By path asked for (``*`` stands for anything in a folder): ``0644 root root``."""
    found: dict[str, dict[str, str]] = {}
    for pattern in ask["files"]:
        for path in ROOT.glob(pattern.lstrip("/")):
            each = path.stat()
            owner, group = _name(pwd.getpwuid, each.st_uid), _name(grp.getgrgid, each.st_gid)
            found.setdefault(pattern, {})[f"/{path.relative_to(ROOT)}"] = f"{each.st_mode & 0o7777:04o} {owner} {group}"
    return found


def texts(ask: Ask) -> Any:
    return {path: read(path) for path in ask["texts"] if Path(ROOT / path.lstrip("/")).exists()}


def scan(ask: Ask) -> Any:
    """What stands out in the whole system: open to all, nobody's, or run with another's rights."""
    users, groups = ({int(line.split(":")[2]) for line in read(f"/etc/{name}").splitlines() if line.count(":") > 2}
                     for name in ("passwd", "group"))  # fmt: skip
    found: dict[str, list[str]] = {"open": [], "unsticky": [], "orphan": [], "raised": [], "logs": []}
    for path, each in _walk("/"):
        mode = each.st_mode
        if stat.S_ISLNK(mode):
            continue
        if mode & stat.S_IWOTH and stat.S_ISREG(mode):
            found["open"].append(path)
        if mode & stat.S_IWOTH and stat.S_ISDIR(mode) and not mode & stat.S_ISVTX:
            found["unsticky"].append(path)
        if (each.st_uid not in users or each.st_gid not in groups) and not path.startswith(PARTS):
            found["orphan"].append(path)
        if stat.S_ISREG(mode) and (mode & stat.S_ISUID or (mode & stat.S_ISGID and mode & stat.S_IXGRP)):
            found["raised"].append(path)
        if path.startswith("/var/log/") and stat.S_ISREG(mode) and _shown(path, mode):
            found["logs"].append(f"{mode & 0o7777:04o} {path}")
    return {name: sorted(each) if name == "raised" else sorted(each)[:MANY] for name, each in found.items()}


def _shown(path: str, mode: int) -> bool:
    """Whether others may read a log, or its group write it; who is logged in is everybody's to see."""
    most = 0o664 if path.rpartition("/")[2] in ("btmp", "lastlog", "wtmp") else 0o640
    return bool(mode & 0o777 & ~most) and "/journal/" not in path


def _walk(folder: str) -> Iterator[tuple[str, os.stat_result]]:
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        if entry.path in ELSEWHERE:
            continue
        try:
            each = entry.stat(follow_symlinks=False)
        except OSError:
            continue
        yield entry.path, each
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path)


LOOKS = {"files": files, "texts": texts, "scan": scan}
