"""What a long verb is doing: a live display on a terminal, plain lines anywhere else.

Steps may run at the same time in several threads; each gets a ``say`` to report with.
"""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

Say = Callable[[str], None]

QUIET = 10.0
"""Seconds between plain lines of one step that differ in their numbers only."""


@dataclass
class _Step:
    name: str
    started: float
    spinner: Spinner
    text: str = ""
    printed: tuple[str, float] = ("", 0.0)
    seconds: float | None = None
    failed: bool = False


@dataclass
class Progress:
    """The steps of one verb; use it as a context manager around them."""

    out: TextIO = field(default_factory=lambda: sys.stderr)
    _steps: list[_Step] = field(default_factory=list)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self.started = time.monotonic()
        self.console = Console(file=self.out, highlight=False)
        self._live = (
            Live(get_renderable=self._render, console=self.console, refresh_per_second=8, transient=True)
            if self.console.is_terminal
            else None
        )

    def __enter__(self) -> Progress:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    @contextmanager
    def step(self, name: str) -> Iterator[Say]:
        """One step; yields what it reports with."""
        step = _Step(name, time.monotonic(), Spinner("dots"))
        with self._lock:
            self._steps.append(step)
        try:
            yield lambda text: self._say(step, text)
        except BaseException:
            step.failed = True
            raise
        finally:
            step.seconds = time.monotonic() - step.started
            self._end(step)

    def line(self, text: str) -> None:
        """One line that stays, for what is worth knowing and is no step."""
        if self._live:
            self.console.print(Text(text))
        else:
            self._print(text)

    def table(self) -> Table:
        """Every step with the time it took."""
        table = Table("step", "time", box=None, pad_edge=False)
        table.columns[1].justify = "right"
        for step in self._steps:
            table.add_row(step.name, seconds(step.seconds or 0.0))
        table.add_row("all", seconds(time.monotonic() - self.started), style="bold")
        return table

    def _say(self, step: _Step, text: str) -> None:
        with self._lock:
            step.text = text
            if self._live:
                return
            kind, now = re.sub(r"\d+", "#", text), time.monotonic()
            if kind != step.printed[0] or now - step.printed[1] >= QUIET:
                step.printed = (kind, now)
                self._print(f"{step.name}: {text}")

    def _end(self, step: _Step) -> None:
        with self._lock:
            took = seconds(step.seconds or 0.0)
            if not self._live:
                self._print(f"{step.name}: {'failed' if step.failed else 'done'} after {took}")
                return
            mark = Text("✗ ", "red") if step.failed else Text("✓ ", "green")
            self.console.print(mark + Text(f"{step.name} ") + Text(took, "dim"))

    def _print(self, text: str) -> None:
        elapsed = time.monotonic() - self.started
        print(f"[{elapsed:7.1f}s] {text}", file=self.out, flush=True)

    def _render(self) -> RenderableType:
        with self._lock:
            active = [step for step in self._steps if step.seconds is None]
        now = time.monotonic()
        rows = []
        for step in active:
            step.spinner.update(text=Text(f"{step.name}  {seconds(now - step.started)}  {step.text}", no_wrap=True))
            rows.append(step.spinner)
        return Group(*rows)


def seconds(value: float) -> str:
    """A duration for people."""
    return f"{value:.1f} s" if value < 60 else f"{int(value // 60)} min {int(value % 60)} s"
