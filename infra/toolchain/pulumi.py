"""The engine with its plugins, ready to run, and the environment in which every verb runs it."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from infra.errors import MaiaError
from infra.site import REPO, Site, cache
from infra.toolchain import build, tools
from infra.toolchain.lock import held

Say = Callable[[str], None]

_LAUNCHERS = REPO / "infra" / "toolchain" / "language-host"
_HOST = "pulumi-language-python"
_SDK = "github.com/pulumi/pulumi/sdk/v3"


@dataclass(frozen=True)
class Toolchain:
    """An installed engine: ``bin/`` with it and its language host, ``home/`` with its plugins."""

    root: Path

    @property
    def pulumi(self) -> Path:
        return self.root / "bin" / "pulumi"

    def environment(self, site: Site, stack: str) -> dict[str, str]:
        """What ``pulumi`` needs to run on ``stack`` of ``site``, by hand as by us; holds no secret."""
        return {
            "PATH": _first(self.pulumi.parent, os.environ.get("PATH", os.defpath)),
            "PYTHONPATH": _first(REPO, os.environ.get("PYTHONPATH", "")),
            # Bytecode is kept, but not in the repository. An empty value unsets.
            "PYTHONPYCACHEPREFIX": str(cache() / "pycache"),
            "PYTHONDONTWRITEBYTECODE": "",
            "PULUMI_HOME": str(self.root / "home"),
            # Beside each file the backend keeps one of its attributes, which a killed engine leaves empty and then
            # nothing can be read any more; nothing here uses them.
            "PULUMI_BACKEND_URL": f"{site.state.as_uri()}?metadata=skip",
            "PULUMI_CONFIG_PASSPHRASE_FILE": str(site.passphrase),
            "PULUMI_STACK": stack,
            # The engine takes every flag from a variable too: this is --cwd.
            "PULUMI_OPTION_CWD": str(workspace(site)),
            "PULUMI_PYTHON_CMD": sys.executable,
            "PULUMI_IGNORE_AMBIENT_PLUGINS": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
        }


def prepare(say: Say) -> Toolchain:
    """The engine, the Docker provider and the language host: installed once, found again after."""
    provider = build.ensure(tools.DOCKER_PROVIDER, say)
    engine = installed()
    built = engine is None
    engine = engine or build.ensure(tools.ENGINE, say)
    root = _home(engine, provider)
    if not root.exists():
        with held(cache() / "pulumi" / "lock", "the engine's home", say):
            if not root.exists():
                _install(root, engine, provider, built, say)
    return Toolchain(root)


def place() -> Path | None:
    """The folder that `prepare` keeps it in; None where nothing was ever built."""
    built, provider = build.place(tools.ENGINE), build.place(tools.DOCKER_PROVIDER)
    engine = installed() or (built / tools.ENGINE.name if built else None)
    return _home(engine, provider / tools.DOCKER_PROVIDER.name) if engine and provider else None


def _home(engine: Path, provider: Path) -> Path:
    return cache() / "pulumi" / _content(engine, provider)[:12]


def workspace(site: Site) -> Path:
    """A folder in which the project is this checkout's and the stack files are the owner's.

    Some verbs (``stack init``, ``stack rm``) know no other place for a stack's file than the
    project's own folder; run here, none of them writes into the repository.
    """
    stacks = site.root.absolute() / "stacks"
    stacks.mkdir(parents=True, exist_ok=True, mode=0o700)
    name = hashlib.sha256(f"{REPO}\0{stacks}".encode()).hexdigest()[:12]
    home = cache().absolute() / "workspaces" / name
    if not home.exists():
        home.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home.parent) as scratch:
            made = Path(scratch) / name
            made.mkdir()
            for link, target in (("Pulumi.yaml", REPO / "Pulumi.yaml"), ("infra", REPO / "infra"), ("stacks", stacks)):
                (made / link).symlink_to(target)
            try:
                made.replace(home)
            except OSError:  # another process was first, with the same content
                if not home.exists():
                    raise
    return home


def _first(entry: Path, path: str) -> str:
    """``path`` with ``entry`` first, and nowhere else."""
    return os.pathsep.join([str(entry), *(part for part in path.split(os.pathsep) if part not in ("", str(entry)))])


def installed() -> Path | None:
    """A complete installation of the same engine on PATH, if there is one that is not ours."""
    found = shutil.which("pulumi")
    if found is None:
        return None
    engine = Path(found).resolve()
    if cache().resolve() in engine.parents or not engine.with_name(_HOST).exists():
        return None
    return engine if _version(engine) == f"v{tools.PULUMI_VERSION}" else None


def _version(engine: Path) -> str:
    """What ``engine`` says it is; asked once for each file, as it takes a fifth of a second."""
    stat = engine.stat()
    name = hashlib.sha256(f"{engine}\0{stat.st_size}\0{stat.st_mtime_ns}".encode()).hexdigest()[:12]
    known = cache() / "pulumi" / f"version-{name}"
    if not known.exists():
        environment = os.environ | {"PULUMI_SKIP_UPDATE_CHECK": "true"}
        try:
            done = subprocess.run([engine, "version"], env=environment, capture_output=True, text=True, timeout=30)
        except (OSError, subprocess.SubprocessError):
            return ""
        known.parent.mkdir(parents=True, exist_ok=True)
        new = known.with_suffix(f".{os.getpid()}")
        new.write_text(done.stdout.strip())
        new.replace(known)
    return known.read_text()


def _content(engine: Path, provider: Path) -> str:
    digest = hashlib.sha256(f"{engine}\0{provider}\0".encode())
    for launcher in sorted(_LAUNCHERS.iterdir()):
        digest.update(launcher.name.encode() + b"\0" + launcher.read_bytes())
    return digest.hexdigest()


def _install(root: Path, engine: Path, provider: Path, built: bool, say: Say) -> None:
    say("installing the engine and its plugins")
    for left in root.parent.glob("new-*"):  # of a run that was killed; we hold the lock
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=root.parent, prefix="new-") as scratch:
        made = Path(scratch) / root.name
        (made / "bin").mkdir(parents=True)
        pulumi = made / "bin" / "pulumi"
        if built:
            # The engine looks for what it bundles beside its own file: no symbolic link.
            os.link(engine, pulumi)
            for launcher in _LAUNCHERS.iterdir():
                shutil.copy(launcher, made / "bin")
            shutil.copy(_executor(say), made / "bin")
        else:
            pulumi.symlink_to(engine)
        done = subprocess.run(
            [pulumi, "plugin", "install", "resource", "docker", tools.DOCKER_VERSION, "--file", provider],
            env=os.environ | {"PULUMI_HOME": str(made / "home"), "PULUMI_SKIP_UPDATE_CHECK": "true"},
            capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            raise MaiaError(
                f"the plugin cannot be installed: {' '.join(done.stderr.split())}",
                where=provider.name,
                mend="free disk space if that is what it names, and run it again",
            )
        made.replace(root)


def _executor(say: Say) -> Path:
    """The SDK's own runner of programs, which comes with the engine's Go modules."""
    where = build.module(tools.ENGINE, _SDK, say)
    return where / "python" / "cmd" / "pulumi-language-python-exec"
