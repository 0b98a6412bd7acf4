"""How long the appliance's own verbs take, step by step."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from infra.cli import common
from tests.bench import compose
from tests.bench.machine import middle, run, timed
from tests.conftest import Appliance

Say = Callable[[str], None]
ALL = "all"


@dataclass
class Runs:
    """Several runs of the same verb."""

    steps: dict[str, list[float]] = field(default_factory=dict)
    """Seconds by step, ``all`` among them."""
    verdicts: list[str] = field(default_factory=list)
    """What the checks said, a red one on a busy machine included."""

    def add(self, said: str, seconds: float) -> None:
        for step, value in re.findall(r"^\[ *[\d.]+s\] (.+): done after (.+)$", said, re.MULTILINE):
            self.steps.setdefault(step, []).append(_seconds(value))
        self.steps.setdefault(ALL, []).append(seconds)

    def middle(self, step: str) -> float:
        return middle(self.steps[step])


def _seconds(text: str) -> float:
    """``12.3 s`` or ``1 min 2 s``."""
    found = re.fullmatch(r"(?:(\d+) min )?([\d.]+) s", text)
    assert found, text
    return 60 * int(found[1] or 0) + float(found[2])


def _maia(stack: Appliance, runs: Runs, *arguments: str) -> None:
    began = time.monotonic()
    done = stack.maia(*arguments, check=False)
    runs.add(done.stdout + done.stderr, time.monotonic() - began)
    verdict = re.search(r"^checks: +(.+?);", done.stdout, re.MULTILINE)
    if done.returncode and not verdict:
        raise SystemExit(f"maia {' '.join(arguments)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    if verdict:
        runs.verdicts.append(verdict[1])


def first(stack: Appliance, say: Say) -> Runs:
    """A new stack with warm caches, the Python environment among them."""
    stack.maia("--help")
    say("a new stack")
    runs = Runs()
    _maia(stack, runs, "up")
    return runs


def unchanged(stack: Appliance, rounds: int, say: Say) -> tuple[Runs, dict[str, float]]:
    """``maia up`` with nothing to do, and in turns the bare engine on the same stack, without and with refresh."""
    runs = Runs()
    engine = common.engine(stack.stack, lambda _: None)
    environment = engine.environment | {"MAIA_SITE": str(stack.root), "MAIA_STACK": stack.name}
    pulumi = shutil.which("pulumi", path=environment["PATH"])
    assert pulumi
    bare: dict[str, list[float]] = {"bare": [], "bare, refreshing": []}
    for number in range(rounds):
        say(f"maia up with nothing to do ({number + 1} of {rounds})")
        _maia(stack, runs, "up")
        for name, more in (("bare", []), ("bare, refreshing", ["--refresh"])):
            say(f"pulumi up, {name} ({number + 1} of {rounds})")
            command = [pulumi, "up", "--yes", "--skip-preview", "--non-interactive", "--stack", stack.name, *more]
            bare[name].append(timed(partial(run, *command, env=environment)))
    return runs, {name: middle(values) for name, values in bare.items()}


def started(stack: Appliance, folder: Path, rounds: int, say: Say) -> tuple[Runs, dict[str, float], str]:
    """From images and volumes to healthy, and in turns the same parts under Compose; the stack is down afterwards."""
    plan, files = stack.stack.plan, folder / "files"
    _copy(stack.site.files(stack.name), files)
    # Docker looks at a container's health for the first time after a whole interval.
    projects = {interval: compose.write(plan, files, folder, interval) for interval in ("10s", "1s")}
    runs = Runs()
    found: dict[str, list[float]] = {"up --wait, 10s": [], "up --wait, 1s": [], "up, unchanged": []}
    say("down")
    stack.maia("down")
    for number in range(rounds):
        for interval, project in projects.items():
            if number and interval == "10s":
                continue  # it waits for the same intervals every time
            say(f"docker compose up, health every {interval} ({number + 1} of {rounds})")
            try:
                found[f"up --wait, {interval}"].append(timed(partial(project.up, "--wait")))
                found["up, unchanged"].append(timed(project.up))
            finally:
                project.down()
        say(f"maia up after down ({number + 1} of {rounds})")
        _maia(stack, runs, "up", "--skip-checks")
        stack.maia("down")
    return runs, {name: middle(values) for name, values in found.items()}, next(iter(projects.values())).version


def _copy(source: Path, target: Path) -> None:
    """With owners and modes: parts read their secrets as their own user."""
    shutil.copytree(source, target)
    for folder, _, names in os.walk(source):
        for path in (Path(folder), *(Path(folder) / name for name in names)):
            was = path.stat()
            os.chown(target / path.relative_to(source), was.st_uid, was.st_gid)
