"""Runs a part of the builder as root of namespaces of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from infra.errors import MaiaError
from infra.site import REPO
from infra.toolchain.process import Stalled, stream

SILENCE = 240.0  # seconds without a word after which a step hangs; the longest silent one measured takes 20


def _command() -> list[str]:
    """Ends with its caller, and takes its processes and mounts along; root inside even if not outside."""
    mapped = [] if os.geteuid() == 0 else ["--map-root-user", "--map-auto"]
    return [
        "setpriv", "--pdeathsig=KILL", "--",
        "unshare", *mapped, "--mount", "--propagation=private", "--mount-proc", "--uts",
        "--pid", "--fork", "--kill-child=KILL", "--",
    ]  # fmt: skip


def run(name: str, job: Path, say: Callable[[str], None]) -> None:
    """Assembles the job in file ``job``; its output is kept in ``build.log`` beside it."""
    command = [sys.executable, "-m", "infra.images.assemble", str(job)]
    execute(f"image {name}", command, job.parent / "build.log", say, {"PYTHONPATH": str(REPO)})


def execute(
    where: str, command: Sequence[str], log: Path, say: Callable[[str], None], environment: Mapping[str, str]
) -> None:
    """Runs ``command``, which says on standard output what it does; everything else it says goes to ``log``.

    Raises:
        MaiaError: it failed, or hangs.
    """
    step = "starting"
    last: deque[str] = deque(maxlen=6)

    def said(line: str) -> None:
        nonlocal step
        step = line
        say(line)

    with log.open("w") as file:

        def logged(line: str) -> None:
            file.write(f"{line}\n")
            # A step of mmdebstrap, and not what it says on its way out.
            if line.startswith("I: ") and line.endswith("...") and " received signal " not in line:
                said(line.removeprefix("I: ").removesuffix("..."))
            elif line and not line.startswith(("Get:", "I: ", "Selecting ", "Preparing ", "Unpacking ", "Setting up ")):
                last.append(line)

        env = os.environ | environment
        try:
            done = stream([*_command(), *command], cwd=REPO, env=env, out=said, err=logged, silence=SILENCE)
        except Stalled:
            raise MaiaError(
                f"{step} hangs: nothing happened for {SILENCE:g} s", where=where, mend=_mend("connection")
            ) from None
    if done.code:
        tail = " / ".join(last)[-600:]
        raise MaiaError(f"{step} failed: {tail}", where=where, mend=_mend(tail))


def _mend(tail: str) -> str:
    text = tail.lower()
    if "no space left" in text:
        return "free disk space and run it again"
    if "unable to locate package" in text or "has no installation candidate" in text:
        return "correct the packages of the recipe"
    if any(sign in text for sign in ("fetch", "resolve", "connect", "timed out", "not found", "404", "release file")):
        return "check the network, or name mirrors in MAIA_DEBIAN_MIRROR and MAIA_DEBIAN_SECURITY_MIRROR"
    return "mend what it names and run it again; nothing was changed"


def remove(folder: Path) -> None:
    """Removes what a killed build left, whoever owns it."""
    if os.geteuid() == 0:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        subprocess.run([*_command(), "rm", "-rf", "--", folder], check=False)
