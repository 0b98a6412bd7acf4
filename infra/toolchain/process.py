"""Runs a long command, line by line, and never leaves it behind."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import threading
from collections import deque
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from infra.errors import MaiaError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path


def patience() -> float:
    """Seconds of silence after which fetching from outside counts as hung.

    Raises:
        MaiaError: the setting is none.
    """
    value = os.environ.get("MAIA_FETCH_TIMEOUT", "180")
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0
    if not 0 < seconds < float("inf"):
        raise MaiaError(f"{value!r} is not a number of seconds", where="MAIA_FETCH_TIMEOUT", mend="set it to 180, say")
    return seconds


class Stalled(Exception):
    """The command printed nothing for longer than it was allowed to."""


@dataclass(frozen=True)
class Done:
    """How a command ended: its exit code and the last things it said on standard error, as one line."""

    code: int
    tail: str


def stream(
    command: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    out: Callable[[str], None],
    err: Callable[[str], None],
    silence: float | None = None,
) -> Done:
    """Runs ``command``, handing on each line; raises `Stalled` after ``silence`` seconds without one."""
    last: deque[str] = deque(maxlen=8)
    # Of either pipe: what is to hear the line, and the line; none at the pipe's end.
    lines: queue.SimpleQueue[tuple[Callable[[str], None], str | None]] = queue.SimpleQueue()

    def heard(line: str) -> None:
        last.append(line)
        err(line)

    def read(pipe: IO[str], hearer: Callable[[str], None]) -> None:
        with pipe:
            for line in pipe:
                lines.put((hearer, line.strip()))
        lines.put((hearer, None))

    # A session of its own, so that what it starts is ended with it; and the kernel ends it should we be killed.
    child = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", "--", *command],
        cwd=cwd, env=env, text=True, errors="replace", start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        open_pipes = 0
        for pipe, hearer in ((child.stdout, out), (child.stderr, heard)):
            if pipe is not None:
                threading.Thread(target=read, args=(pipe, hearer), daemon=True).start()
                open_pipes += 1
        while open_pipes:
            try:
                hearer, line = lines.get(timeout=silence)
            except queue.Empty:
                raise Stalled from None
            if line is None:
                open_pipes -= 1
            else:
                hearer(line)
        return Done(child.wait(), " ".join(" / ".join(last).split()))
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
