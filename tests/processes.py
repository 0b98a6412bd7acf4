"""Processes that tests end, with all that those started."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path


def family(pid: int) -> list[int]:
    """The process and everything it started, the youngest last."""
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            child, parent = int(status.parent.name), int(status.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it ended meanwhile
            continue
        children.setdefault(parent, []).append(child)
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found


def kill_all(process: subprocess.Popen[str]) -> None:
    """End them all at once: none goes on while the others are looked for, so that none starts another meanwhile."""
    stopped: list[int] = []
    while found := [pid for pid in family(process.pid) if pid not in stopped]:
        stopped += found
        _send(found, signal.SIGSTOP)
    _send(stopped, signal.SIGKILL)
    process.communicate()


def _send(pids: list[int], what: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, what)


def kill_at(process: subprocess.Popen[str], said: str) -> None:
    """End the process and all it started once it says this; it must."""
    assert process.stdout
    heard = []
    for line in process.stdout:
        heard.append(line)
        if said in line:
            kill_all(process)
            return
    raise AssertionError("".join(heard[-30:]))
