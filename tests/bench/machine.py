"""What the figures were taken on, and what the numbers amount to."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import docker

from infra.stack import machine


def describe() -> str:
    """The machine in one line."""
    system = re.search(r'^PRETTY_NAME="?(.*?)"?$', Path("/etc/os-release").read_text(), re.MULTILINE)
    processor = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*: (.*)$", processor, re.MULTILINE)
    here = machine()
    return ", ".join(
        [
            f"{here.cpus} cores" + (f" ({model[1]})" if model else ""),
            f"{round(here.memory / 1024)} GiB",
            (system[1] if system else platform.system())
            + (", a virtual machine" if " hypervisor" in processor else ""),
            f"Linux {platform.release()}",
            f"Docker {docker.from_env().version()['Version']}",
            f"Python {platform.python_version()}",
        ]
    )


def load() -> float:
    """Processes that wanted a processor during the last minute."""
    return os.getloadavg()[0]


def clock() -> Callable[[str], None]:
    """What tells a person how far a benchmark is, and since when it runs."""
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:6.1f}s] {text}", file=sys.stderr, flush=True)

    return say


def timed(action: Callable[[], Any]) -> float:
    """Seconds that it took."""
    began = time.monotonic()
    action()
    return time.monotonic() - began


def run(*command: str | Path, env: dict[str, str] | None = None, seconds: float = 600) -> str:
    """The output of a program that must succeed."""
    done = subprocess.run(
        command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return done.stdout + done.stderr


def middle(values: list[float]) -> float:
    return median(values)
