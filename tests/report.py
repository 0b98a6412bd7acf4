"""A page on the last run of each layer: ``maia test [LAYER] [--full | --long] --report docs/test-report.md``."""

from __future__ import annotations

import re
import subprocess
from collections import Counter, defaultdict
from datetime import UTC, datetime
from pathlib import Path

import pytest

from infra import atomic
from infra.site import REPO
from tests.bench import machine

OUTCOMES = ("passed", "failed", "skipped")
SLOWEST = 8
HEAD = """# The last run of each layer

Written by `./maia test [LAYER] [--full | --long] --report docs/test-report.md`; a layer that runs again replaces its
section.

"""


class Report:
    """Gathers what each test came to, and writes the sections of its layers at the end."""

    def __init__(self, path: Path, *, full: bool, long: bool) -> None:
        self._path, self._load = path, machine.load()
        self._suffix = ", the long ones" if long else "" if full else ", without the long ones"
        self._outcome: dict[str, str] = {}
        self._seconds: dict[str, float] = defaultdict(float)
        self._why: dict[str, str] = {}
        self._long: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = report.nodeid
        self._seconds[name] += report.duration
        if "long" in report.keywords:
            self._long.add(name)
        if report.failed:
            self._outcome[name] = "failed"
            self._why[name] = str(report.longrepr).strip().splitlines()[-1].rpartition("/site-packages/")[2]
        elif report.skipped:
            self._outcome.setdefault(name, "skipped")
            self._why.setdefault(name, str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else "")
        elif report.when == "call":
            self._outcome.setdefault(name, "passed")

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        if exitstatus == pytest.ExitCode.INTERRUPTED:  # half a layer is no run of it
            return
        known = self._path.read_text() if self._path.exists() else ""
        sections = {text.partition("\n")[0]: text for text in re.split(r"^## ", known, flags=re.MULTILINE)[1:]}
        layers = defaultdict(list)
        for name in self._outcome:
            layers[name.split("/")[1]].append(name)
        for layer, names in layers.items():
            sections[layer + self._suffix] = self._section(layer, names)
            if not self._suffix:  # all of it in one run is better than in two
                for part in (", the long ones", ", without the long ones"):
                    sections.pop(layer + part, None)
        atomic.write(self._path, HEAD + "".join(f"## {text}" for _, text in sorted(sections.items())), mode=0o644)

    def _section(self, layer: str, names: list[str]) -> str:
        counts = Counter(self._outcome[name] for name in names)
        told = ", ".join(f"{counts[outcome]:,} {outcome}" for outcome in OUTCOMES if counts[outcome])
        long = sum(name in self._long and self._outcome[name] != "skipped" for name in names)
        minutes = sum(self._seconds[name] for name in names) / 60
        slowest = sorted(names, key=lambda name: -self._seconds[name])[:SLOWEST]
        lines = [
            layer + self._suffix,
            "",
            f"**{told}**, {long} of them long, in {minutes:.1f} min; {datetime.now(UTC):%Y-%m-%d}, commit {_commit()}.",
            "",
            f"{machine.describe()}. Its load at the start was {self._load:.1f}.",
            "",
            *self._listed("Failed", names, "failed"),
            *self._listed("Skipped", names, "skipped"),
            "| slowest | seconds |",
            "|---|---:|",
            *(f"| `{name.partition(f'{layer}/')[2]}` | {self._seconds[name]:.0f} |" for name in slowest),
        ]
        return "\n".join([*lines, "", ""])

    def _listed(self, title: str, names: list[str], outcome: str) -> list[str]:
        """Every test that came to ``outcome``, with why; those of one reason as one line."""
        by_reason = defaultdict(list)
        for name in names:
            if self._outcome[name] == outcome:
                by_reason[self._why.get(name, "")].append(name)
        rows = [
            f"- {title}: {f'`{names[0]}`' if len(names) == 1 else f'{len(names)} tests'}: "
            + reason.removeprefix("Skipped: ")
            for reason, names in by_reason.items()
        ]
        return [*rows, ""] if rows else []


def _commit() -> str:
    done = subprocess.run(
        ["git", "log", "-1", "--format=%h of %cs"], cwd=REPO, text=True, capture_output=True, check=False
    )
    return done.stdout.strip()
