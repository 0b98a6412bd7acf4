"""What must be true of a running appliance, checked against its plan."""

from __future__ import annotations

import dataclasses
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from rich.table import Table
from rich.text import Text

from checks import hosts
from checks.evidence import Row, counts
from checks.plugin import Spec
from infra.config import nearest
from infra.errors import MaiaError
from infra.plan import Plan
from infra.site import REPO
from infra.stack import Stack

COLOURS = {"passed": "green", "failed": "red", "skipped": "yellow", "waived": "yellow"}


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a run of the checks found."""

    rows: tuple[Row, ...]
    plan: Plan
    seconds: float
    evidence: Path
    """The folder with ``report.json`` and ``junit.xml``, written by a run of all checks."""

    @property
    def ok(self) -> bool:
        return bool(self.rows) and not self.failed

    @property
    def failed(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.outcome == "failed")

    @property
    def counts(self) -> dict[str, int]:
        """Number of checks by outcome."""
        return counts(list(self.rows))

    @property
    def summary(self) -> str:
        parts = [f"{number} {outcome}" for outcome, number in self.counts.items() if number]
        return f"{', '.join(parts)} in {self.seconds:.1f} s"


def run(
    stack: Stack,
    *,
    say: Callable[[str], None],
    secrets: Mapping[str, str] | None = None,
    control: str | None = None,
    keyword: str | None = None,
    host: str | None = None,
    level: int | None = None,
) -> Result:
    """Check the running stack against its plan; the evidence goes to the site folder.

    Args:
        secrets: values of the stack's secrets by name; without them, what needs one is skipped and says so.
        control: only checks whose control ids begin with this.
        keyword: only checks that match this expression (pytest's ``-k``).
        host: only this server of the plan, or ``local``, this machine, which is looked at in no other case.
        level: only checks that speak to controls of this level or a lower one.

    Raises:
        MaiaError: not run as root, nothing matches, or the run itself broke.
    """
    if host is None and os.geteuid() != 0:
        raise MaiaError("looks into namespaces and sockets of the parts", where="maia check", mend="run it as root")
    began = time.monotonic()
    plan = _with(stack.plan, host)
    spec = Spec(
        plan=plan, site=stack.site, at=stack.place, secrets=dict(secrets or {}), control=control, keyword=keyword,
        host=host, level=level, servers=hosts.servers(plan, stack.site),
    )  # fmt: skip
    rows = _rows(spec, say)
    if not rows:
        raise MaiaError(
            f"no check matches {keyword or control or host or f'level {level}'!r}",
            where="maia check",
            mend="maia check --all lists them",
        )
    return Result(
        rows=tuple(rows),
        plan=plan,
        seconds=time.monotonic() - began,
        evidence=stack.site.evidence(stack.name),
    )


def _with(plan: Plan, host: str | None) -> Plan:
    """The plan with the server that was asked for.

    Raises:
        MaiaError: there is none of that name.
    """
    known = [each.name for each in plan.hosts]
    if host == hosts.HERE and host not in known:
        return dataclasses.replace(plan, hosts=(hosts.here(),))
    if host is not None and host not in known:
        raise MaiaError(f"no server {host!r}", where="--host", mend=nearest(host, [*known, hosts.HERE]))
    return plan


def _rows(spec: Spec, say: Callable[[str], None]) -> list[Row]:
    # A process of its own: pytest keeps global state, and may itself be what calls this.
    command = [sys.executable, "-m", "checks"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}  # the caller's
    with subprocess.Popen(
        command, cwd=REPO, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin and process.stdout and process.stderr
        pickle.dump(spec, process.stdin)
        process.stdin.close()
        rows: list[Row] | None = None
        for kind, value in _messages(process.stdout):
            if kind == "say":
                say(value)
            else:
                rows = value
        complaint = process.stderr.read().decode(errors="replace").strip().splitlines()
    if rows is None:
        last = complaint[-1] if complaint else f"exit code {process.returncode}"
        raise MaiaError(f"the checks could not run: {last}", where="maia check", mend="maia doctor")
    return rows


def _messages(stream: IO[bytes]) -> Any:
    while True:
        try:
            yield pickle.load(stream)
        except EOFError:
            return


def table(result: Result, *, everything: bool = False) -> Table:
    """For people: what failed, was skipped or waived, each planned deviation, and a line per subject.

    Args:
        everything: every check on a line of its own.
    """
    shown = Table(title=f"Checks of {result.plan.stack}: {result.summary}", title_justify="left")
    for column in ("", "check", "observed", "controls"):
        shown.add_column(column, overflow="fold")
    subjects: dict[str, list[Row]] = {}
    for row in result.rows:
        subjects.setdefault(row.check.partition("[")[0], []).append(row)
    for subject, rows in subjects.items():
        passed = [row for row in rows if row.outcome == "passed"]
        if passed and not everything:
            shown.add_row(_mark("passed"), subject, f"{len(passed)} as planned", "")
        for row in rows:
            if everything or row.outcome != "passed":
                found = row.reason or ("" if row.observed is None else str(row.observed))
                shown.add_row(_mark(row.outcome), Text(row.check), Text(found), Text(" ".join(row.controls)))
    if set(subjects) != {hosts.SUBJECT}:
        for container in result.plan.containers:
            for deviation in container.deviations:
                what = f"{container.part}: {deviation.field} {deviation.value}"
                shown.add_row(Text("planned", "yellow"), Text(what), Text(deviation.reason), "")
        for part, reason in result.plan.absences():
            shown.add_row(Text("absent", "yellow"), Text(part), Text(reason), "")
    return shown


def _mark(outcome: str) -> Text:
    return Text(outcome, COLOURS[outcome])
