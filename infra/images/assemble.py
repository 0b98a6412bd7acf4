"""Puts one image's tree together; runs as root of a sandbox of its own (see `infra.images.sandbox`).

Nothing outside the job's folder and the pool of packages is written. Mounts live
in the sandbox's mount namespace and its processes in its process namespace, so
whatever kills it leaves nothing but a folder behind.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.images import debian, layer, wheels
from infra.images.recipe import BaseRecipe, Recipe
from infra.site import REPO

# Left by package managers and maintainer scripts; no image needs them, and most name a time or a machine.
LEFTOVERS = (
    "dev/*", "proc/*", "run/*", "sys/*", "tmp/*", "var/tmp/*", "root/.*", "var/log/*", "var/cache/*", "var/lib/apt",
    "var/lib/dpkg/*-old", "var/lib/dpkg/lock*", "var/lib/dpkg/triggers/Lock", "etc/*-", "etc/.pwd.lock",
    "etc/machine-id", "etc/ssl/private/*", "usr/sbin/policy-rc.d", "var/lib/systemd/catalog/database",
)  # fmt: skip
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
    "SOURCE_DATE_EPOCH": str(layer.EPOCH),
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    **{name: value for name, value in os.environ.items() if name.lower() in ("http_proxy", "https_proxy", "no_proxy")},
}
DEVICES = ("null", "zero", "full", "random", "urandom")
DOCUMENTS = ("man", "info", "doc", "locale", "lintian")


@dataclass(frozen=True)
class Job:
    """What the builder asks for; travels as JSON."""

    folder: Path
    pool: Path
    recipe: dict[str, Any]
    mirror: tuple[str, ...] = ()
    base: Path | None = None
    lists: Path | None = None
    tools: tuple[Path, ...] = ()
    wheels: Path | None = None
    sums: dict[str, str] = field(default_factory=dict)

    def write(self, file: Path) -> None:
        """Writes the job for `main` to read."""
        file.write_text(json.dumps(vars(self), default=str))

    @classmethod
    def read(cls, file: Path) -> Job:
        """Reads what `write` wrote."""
        data = json.loads(file.read_text())
        for key in ("folder", "pool", "base", "lists", "wheels"):
            data[key] = Path(data[key]) if data[key] else None
        return cls(**data | {"tools": tuple(map(Path, data["tools"])), "mirror": tuple(data["mirror"])})

    @property
    def tree(self) -> Path:
        """The root directory of the image to be."""
        return self.folder / "tree"


def step(text: str) -> None:
    """Tells the builder what happens now."""
    print(text, flush=True)


def run(*command: str | Path, **env: str) -> None:
    """Runs a command, whose output is the log, in an environment of its own; its failure ends the sandbox."""
    subprocess.run(command, check=True, stdout=sys.stderr, stdin=subprocess.DEVNULL, env=ENVIRONMENT | env)


def base(job: Job) -> None:
    """The shared base, by mmdebstrap."""
    recipe = BaseRecipe.model_validate(job.recipe)
    archives = job.tree / "var/cache/apt/archives"
    ready = job.folder / "debs"
    _from_pool(job.pool, ready)
    excluded = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in DOCUMENTS]
    step("bootstrapping Debian")
    run(
        "mmdebstrap", "--verbose", "--mode=root", "--variant=essential", "--format=directory",
        "--components=main", f"--keyring={debian.KEYRING}", *(f"--include={name}" for name in recipe.packages),
        "--skip=essential/unlink", "--skip=cleanup/apt/cache",
        *(f"--aptopt={option}" for option in (*debian.BOUNDS, *debian.CHOICES)),
        *excluded, "--dpkgopt=path-include=/usr/share/doc/*/copyright", "--dpkgopt=force-unsafe-io",
        f"--setup-hook=mkdir -p '{archives}'; find '{ready}' -name '*.deb' -exec ln -t '{archives}' {{}} +",
        recipe.suite, job.tree, *job.mirror, TMPDIR=str(job.folder),
    )  # fmt: skip
    shutil.copy(job.tree / "etc/apt/sources.list", job.folder / "sources.list")
    _finish(job, recipe, {}, _to_pool(job))


def image(job: Job) -> None:
    """An image over the base."""
    recipe = Recipe.model_validate(job.recipe)
    assert job.base and job.lists
    below = {path: layer.Entry(*entry) for path, entry in json.loads((job.base / "index.json").read_text()).items()}
    step("unpacking the base")
    job.tree.mkdir(mode=0o755)
    run("tar", "-C", job.tree, "--numeric-owner", "--same-owner", "-xpf", job.base / "layer.tar")
    _mount(job.tree)
    _add_user(job.tree, recipe)
    _put_files(job.tree, recipe)
    if recipe.packages:
        _install(job, recipe)
    archives = _to_pool(job)
    if recipe.purge:
        step("removing what nothing needs")
        run("chroot", job.tree, "dpkg", "--purge", "--force-depends", "--force-remove-essential", *recipe.purge)
    for tool in job.tools:
        shutil.copyfile(tool, job.tree / "usr/local/bin" / tool.name)
        (job.tree / "usr/local/bin" / tool.name).chmod(0o755)
    if recipe.python:
        _install_python(job, recipe)
    _unmount(job.tree)
    _finish(job, recipe, below, archives)


def _mount(tree: Path) -> None:
    run("mount", "-t", "proc", "proc", tree / "proc")
    (tree / "dev").mkdir(exist_ok=True)
    for name in DEVICES:
        (tree / "dev" / name).touch()
        run("mount", "--bind", f"/dev/{name}", tree / "dev" / name)
    (tree / "dev/fd").symlink_to("/proc/self/fd")
    policy = tree / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")  # no maintainer script starts a daemon
    policy.chmod(0o755)


def _unmount(tree: Path) -> None:
    for name in DEVICES:
        run("umount", tree / "dev" / name)
    run("umount", tree / "proc")


def _add_user(tree: Path, recipe: Recipe) -> None:
    user = recipe.user
    for file, line in (
        ("passwd", f"{user.name}:x:{user.uid}:{user.gid}::/nonexistent:/usr/sbin/nologin"),
        ("group", f"{user.name}:x:{user.gid}:"),
        ("shadow", f"{user.name}:!:{layer.EPOCH // 86400}::::::"),
        ("gshadow", f"{user.name}:!::"),
    ):
        with (tree / "etc" / file).open("a") as out:
            out.write(f"{line}\n")


def _put_files(tree: Path, recipe: Recipe) -> None:
    for file in recipe.files:
        target = tree / file.path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read())
        target.chmod(int(file.mode, 8))
        os.chown(target, 0, 0)


def _install(job: Job, recipe: Recipe) -> None:
    assert job.lists and job.base
    archives = job.tree / "var/cache/apt/archives"
    (archives / "partial").mkdir(parents=True, exist_ok=True)
    _from_pool(job.pool, archives)
    config = job.folder / "apt.conf"
    sources = "\n".join(job.mirror) + "\n"
    debian.write_config(config, job.folder / "apt", sources, root=job.tree, lists=job.lists)
    step("fetching packages")
    run("apt-get", "install", "--yes", "--download-only", *recipe.packages, APT_CONFIG=str(config))
    step("installing packages")
    run("apt-get", "install", "--yes", "--no-download", *recipe.packages, APT_CONFIG=str(config))


def _install_python(job: Job, recipe: Recipe) -> None:
    assert recipe.python and job.wheels
    home = job.tree / "opt/maia"
    step("installing wheels")
    run(
        *wheels.pip("install"), "--no-index", f"--find-links={job.wheels}", "--no-compile", f"--target={home / 'lib'}",
        f"--requirement={REPO / recipe.python.lock}", TMPDIR=str(job.folder),
    )  # fmt: skip
    # Scripts name this machine's Python; modules are run by name.
    shutil.rmtree(home / "lib/bin", ignore_errors=True)
    for record in home.glob("lib/*.dist-info/RECORD"):
        kept = [line for line in record.read_text().splitlines(keepends=True) if not line.startswith(("../", "bin/"))]
        record.write_text("".join(kept))
    for tree in recipe.python.trees:
        for path in (path for path in recipe.sources if path.is_relative_to(REPO / tree)):
            target = home / path.relative_to(REPO)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    for path in home.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    step("compiling modules")
    run(
        "chroot", job.tree, "python3", "-m", "compileall", "-q", "-f", "--invalidation-mode", "unchecked-hash",
        "/opt/maia", f"/usr/lib/python{wheels.PYTHON}",
    )  # fmt: skip


def _finish(job: Job, recipe: Recipe | BaseRecipe, below: dict[str, layer.Entry], used: list[debian.Package]) -> None:
    step("writing the layer")
    tree = job.tree
    left = {package.name for package in debian.installed(tree)}
    for pattern in (*LEFTOVERS, *(glob.lstrip("/") for glob in recipe.exclude)):
        for path in tree.glob(pattern):
            _remove(path)
    if isinstance(recipe, Recipe):
        _put_files(tree, recipe)
        for directory in recipe.directories:
            target = tree / directory.path.lstrip("/")
            target.mkdir(parents=True, exist_ok=True)
            target.chmod(int(directory.mode, 8))
            if directory.owner == "user":
                os.chown(target, recipe.user.uid, recipe.user.gid)
    index = layer.scan(tree)
    digest = layer.write(tree, index, below, job.folder / "layer.tar")
    if isinstance(recipe, BaseRecipe):
        (job.folder / "index.json").write_text(json.dumps(index))
    found = {"digest": digest, "used": [{**package.as_dict(), "left": package.name in left} for package in used]}
    (job.folder / "found.json").write_text(json.dumps(found))
    shutil.rmtree(tree)


def _from_pool(pool: Path, archives: Path) -> None:
    """Offers packages of earlier builds, as long as they are what apt verified then: it looks at their size alone."""
    archives.mkdir(parents=True, exist_ok=True)
    for kept in pool.glob("*.deb"):
        digest, _, name = kept.name.partition("-")
        if layer.sha256(kept) == digest:
            os.link(kept, archives / name)


def _to_pool(job: Job) -> list[debian.Package]:
    """Keeps what was downloaded for other builds; returns what is installed now."""
    sums = dict(job.sums)
    for deb in (job.tree / "var/cache/apt/archives").glob("*.deb"):
        digest = sums[deb.name] = layer.sha256(deb)
        with suppress(FileExistsError):
            os.link(deb, job.pool / f"{digest}-{deb.name}")
    return debian.installed(job.tree, sums)


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def main() -> None:
    """Runs the job named on the command line."""
    job = Job.read(Path(sys.argv[1]))
    os.umask(0o022)
    socket.sethostname("image")  # some packages write it into what they make
    kinds: dict[bool, Callable[[Job], None]] = {True: image, False: base}
    try:
        kinds[job.base is not None](job)
    except subprocess.CalledProcessError as fault:
        sys.exit(f"{fault.cmd[0]} ended with {fault.returncode}")
    except OSError as fault:
        sys.exit(str(fault))


if __name__ == "__main__":
    main()
