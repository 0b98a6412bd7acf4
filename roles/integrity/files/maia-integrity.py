#!/usr/bin/python3 -I
# Written by MAIA Sovereign (role integrity); changes made here are lost.
"""Compare the files of this system with what they were when somebody last accepted them.

    maia-integrity           say what differs; fails where no package explains a difference
    maia-integrity accept    say it, and take what there is now for what is to be

A difference is explained where an installed package has just that file, or had the one that is gone.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
import sys
import syslog
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SETTINGS = "/etc/aide/aide.conf"
STATE = Path("/var/lib/aide/aide.db")
LOCK = Path("/var/lib/aide/maia.lock")
METRICS = Path("/var/lib/maia/metrics")
DPKG = Path("/var/lib/dpkg")
CONTENT = {"sha512", "inode", "linkcount"}
"""What of a file becomes another with a new version of its package: not its owner, nor its rights."""
BROKEN = 14
"""From this exit code on AIDE has not compared anything."""


def aide(verb: str) -> dict[str, Any]:
    done = subprocess.run(["aide", f"--config={SETTINGS}", verb], capture_output=True, text=True)
    if done.returncode >= BROKEN or done.returncode < 0:
        sys.exit(f"maia-integrity: aide {verb}: {done.stderr.strip() or done.returncode}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def altered() -> list[str]:
    """Files that are not as their installed packages brought them, settings excepted."""
    said = subprocess.run(["debsums", "--changed"], capture_output=True, text=True)
    return sorted(said.stdout.split("\n")[:-1])


def real(path: str) -> str:
    """Its folder as it is called today: older packages have theirs beside /usr."""
    folder, name = os.path.split(path)
    return os.path.join(os.path.realpath(folder), name)


class Packages:
    """What the installed ones say of files."""

    def __init__(self) -> None:
        self.sums = {real("/" + path): md5 for md5, path in self._sums()} | dict(self._settings())
        self.paths = {real(line) for each in (DPKG / "info").glob("*.list") for line in each.read_text().splitlines()}

    def explain(self, path: str, kind: str, changed: set[str]) -> bool:
        """Whether what became of a path is the doing of its package, where no more than ``changed`` did."""
        if not os.path.lexists(path):
            return path.startswith("/usr/") and not path.startswith("/usr/local/") and path not in self.paths
        if kind == "d":
            return not changed and path in self.paths
        if kind == "l":
            return path in self.paths and changed <= {"linkname", *CONTENT} and self._has(os.path.realpath(path))
        return changed <= CONTENT and self._has(path)

    def _has(self, path: str) -> bool:
        """Whether a file is just as its package has it."""
        try:
            return self.sums.get(path) == hashlib.md5(Path(path).read_bytes(), usedforsecurity=False).hexdigest()
        except OSError:
            return False

    def _sums(self) -> Iterator[list[str]]:
        for each in (DPKG / "info").glob("*.md5sums"):
            yield from (line.split(None, 1) for line in each.read_text().splitlines())

    def _settings(self) -> Iterator[tuple[str, str]]:
        """Those that nobody has changed are as dpkg's list of them says."""
        for line in (DPKG / "status").read_text().splitlines():
            words = line.split()
            if line.startswith(" /") and len(words) > 1:
                yield words[0], words[1]


def differences(found: dict[str, Any]) -> Iterator[tuple[str, str, str, set[str]]]:
    """Each as what happened, path, kind of file and what of it changed."""
    for what in ("added", "removed", "changed"):
        for path, flags in sorted(found.get(what, {}).items()):
            yield what, path, flags[0], {*found.get("details", {}).get(path, {})}


def tell(unexplained: list[str], explained: list[str], wrong: list[str]) -> None:
    for name, lines in (("by a package", explained), ("not explained", unexplained), ("not its package's", wrong)):
        for line in lines:
            print(f"{name}: {line}")
    print(
        f"{len(explained)} by packages, {len(unexplained)} not explained, {len(wrong)} not as their packages have them"
    )


def measure(**figures: int) -> None:
    """For the node exporter, where there is one."""
    if not METRICS.is_dir():
        return
    lines = [f'maia_integrity_differences{{kind="{kind}"}} {count}' for kind, count in figures.items()]
    lines.append(f"maia_integrity_compared_timestamp_seconds {time.time():.0f}")
    new = METRICS / "integrity.prom.new"
    new.write_text("\n".join(lines) + "\n")
    new.chmod(0o644)
    new.rename(METRICS / "integrity.prom")


def main(words: list[str]) -> int:
    if words not in ([], ["accept"]):
        sys.exit("usage: maia-integrity [accept]")
    os.umask(0o077)
    with LOCK.open("w") as lock:  # its time may come while a person looks
        fcntl.flock(lock, fcntl.LOCK_EX)
        return compare(accepts=words == ["accept"] or not STATE.exists())


def compare(*, accepts: bool) -> int:
    found = aide("--check" if not accepts else "--update" if STATE.exists() else "--init")
    packages = Packages()
    unexplained, explained = [], []
    for what, path, kind, changed in differences(found):
        known = packages.explain(path, kind, changed)
        (explained if known else unexplained).append(f"{what} {path} {', '.join(sorted(changed))}".rstrip())
    wrong = altered()
    tell(unexplained, explained, wrong)
    if accepts:
        STATE.with_name(STATE.name + ".new").rename(STATE)
        who = os.environ.get("SUDO_USER", "root")
        syslog.syslog(syslog.LOG_NOTICE, f"{who} accepted {len(unexplained) + len(explained)} differences")
        unexplained, explained = [], []
    measure(unexplained=len(unexplained), explained=len(explained), altered=len(wrong))
    return 1 if unexplained or wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
