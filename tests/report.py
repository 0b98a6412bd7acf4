"""A page on one whole run of the tests, for ``docs/test-report.md``: ``maia test --full --report FILE``."""

from __future__ import annotations

import subprocess
import time
from collections import Counter, defaultdict
from datetime import UTC, datetime
from pathlib import Path

import pytest

from infra import atomic
from infra.site import REPO
from tests.bench import machine

OUTCOMES = ("passed", "failed", "skipped")
SLOWEST = 20


class Report:
    """Gathers what each test came to, and writes it at the end."""

    def __init__(self, path: Path, *, full: bool) -> None:
        self._path, self._full = path, full
        self._began, self._load = time.monotonic(), machine.load()
        self._outcome: dict[str, str] = {}
        self._seconds: dict[str, float] = defaultdict(float)
        self._why: dict[str, str] = {}
        self._long: set[str] = set()

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        self._long = {item.nodeid for item in items if item.get_closest_marker("long")}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = report.nodeid
        self._seconds[name] += report.duration
        if report.failed:
            self._outcome[name] = "failed"
            self._why[name] = str(report.longrepr).strip().splitlines()[-1]
        elif report.skipped:
            self._outcome.setdefault(name, "skipped")
            self._why.setdefault(name, str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else "")
        elif report.when == "call":
            self._outcome.setdefault(name, "passed")

    def pytest_sessionfinish(self) -> None:
        atomic.write(self._path, self._page(), mode=0o644)

    def _page(self) -> str:
        total = Counter(self._outcome.values())
        minutes = (time.monotonic() - self._began) / 60
        commit = subprocess.run(
            ["git", "log", "-1", "--format=%h %cs"], cwd=REPO, text=True, capture_output=True, check=False
        ).stdout.strip()
        lines = [
            "# The last whole run of the tests",
            "",
            f"`./maia test{' --full' if self._full else ''}` on {datetime.now(UTC):%Y-%m-%d}, commit {commit}: "
            f"**{_counts(total)}** in {minutes:.0f} min.",
            "",
            f"{machine.describe()}. Its load at the start was {self._load:.1f}.",
            "",
            f"| layer | {' | '.join(OUTCOMES)} | of them long | minutes |",
            f"|---|{'---:|' * (len(OUTCOMES) + 2)}",
            *self._layers(),
            "",
            *self._listed("Failed", "failed"),
            *self._listed("Skipped", "skipped"),
            f"## The {SLOWEST} slowest",
            "",
            "| test | seconds |",
            "|---|---:|",
            *(f"| `{name}` | {seconds:.0f} |" for name, seconds in self._slowest()),
        ]
        return "\n".join([*lines, ""])

    def _layers(self) -> list[str]:
        names = defaultdict(list)
        for name in self._outcome:
            names[name.split("/")[1]].append(name)
        rows = []
        for layer, members in names.items():
            counts = Counter(self._outcome[name] for name in members)
            long = sum(name in self._long and self._outcome[name] != "skipped" for name in members)
            minutes = sum(self._seconds[name] for name in members) / 60
            rows.append(
                f"| {layer} | {' | '.join(str(counts[outcome]) for outcome in OUTCOMES)} | {long} | {minutes:.1f} |"
            )
        return rows

    def _listed(self, title: str, outcome: str) -> list[str]:
        """Every test that came to ``outcome``, with why; those of one reason as one line."""
        by_reason = defaultdict(list)
        for name, found in self._outcome.items():
            if found == outcome:
                by_reason[self._why.get(name, "")].append(name)
        if not by_reason:
            return []
        rows = [
            f"- {f'`{names[0]}`' if len(names) == 1 else f'{len(names)} tests'}: {reason.removeprefix('Skipped: ')}"
            for reason, names in by_reason.items()
        ]
        return [f"## {title}", "", *rows, ""]

    def _slowest(self) -> list[tuple[str, float]]:
        return sorted(self._seconds.items(), key=lambda item: -item[1])[:SLOWEST]


def _counts(total: Counter[str]) -> str:
    return ", ".join(f"{total[outcome]:,} {outcome}" for outcome in OUTCOMES if total[outcome])
