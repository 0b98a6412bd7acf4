"""Recovery points are made, reach the present, stand where they outlive the machine's disk, and were tried out."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from checks.plugin import Case, Expect, cases
from infra.place import Place
from infra.plan import Plan

PART = "backup"
LATE = 26 * 3600
"""Seconds: a day, and what a point may take."""
AWAY = 2 * 3600
"""Seconds that a copy may be behind, where it is not brought over less often than that."""
BEHIND = 300
"""Seconds that WAL may wait for the archive: five times what Postgres waits before it hands a segment over."""


@pytest.fixture(scope="module")
def state(plan: Plan, at: Place) -> Mapping[str, Any]:
    """What the part knows of its jobs and its archive."""
    container = at.docker().containers.get(plan.container(PART).name)
    done: Any = container.exec_run(["python3", "-m", "app.backup", "state"])
    assert done.exit_code == 0, done.output.decode(errors="replace")
    found: dict[str, Any] = json.loads(done.output)["result"]
    return found


def _cases(plan: Plan) -> list[Case]:
    if not plan.has(PART):
        return []
    own = [Case(rule, PART) for rule in ("recent", "good", "wal", "elsewhere")]
    return own + [Case("copied", copy.name, copy) for copy in plan.backup.copies]


@cases(_cases)
def test_backup(case: Case, plan: Plan, state: Mapping[str, Any], expect: Expect) -> None:
    if case.rule == "recent":
        if not plan.backup.at:
            pytest.skip("no daily point is wanted (maia:backup.at)")
        last = state.get("point_succeeded")
        # The first one is made as soon as the part has started.
        began = last or state.get("point_tried") or time.time()
        return expect(time.time() - began < LATE, True)
    if case.rule == "good":
        return expect([state.get(f"{job}_error", "") for job in ("point", "references", "verify")], [""] * 3)
    if case.rule == "wal":
        return expect(state["wal_waiting"] < BEHIND, True)
    if case.rule == "copied":
        known = state["copies"][case.part]
        # The first one is brought over as soon as the part has started.
        began = known.get("copy_succeeded") or known.get("copy_tried") or time.time()
        errors = [known.get(f"{job}_error", "") for job in ("copy", "verify")]
        return expect([*errors, time.time() - began < max(AWAY, 240 * case.subject.every)], ["", "", True])
    if state["same_disk"] and plan.backup.copies:
        return expect("away as a copy", "away as a copy")
    if state["same_disk"]:
        pytest.skip("the archive is on the disk it is to outlive: name another one in maia:backup.folder")
    return expect("another file system", "another file system")


@cases(lambda plan: [Case(rule, PART) for rule in ("good", "recent")] if plan.has(PART) else [])
def test_drill(case: Case, plan: Plan, state: Mapping[str, Any], expect: Expect) -> None:
    if case.rule == "good":
        if "drill_tried" not in state:
            pytest.skip("none was made yet: maia drill")
        return expect(state["drill_error"], "")
    if not plan.backup.drill:
        pytest.skip("none is wanted (maia:backup.drill)")
    due = datetime.fromtimestamp(state["drill_due"], UTC)
    if "drill_succeeded" not in state and datetime.now(UTC) < due:
        pytest.skip(f"none has gone well yet, and until {due:%Y-%m-%d} none must: maia drill")
    return expect.that(datetime.now(UTC) < due, f"the next one was due until {due:%Y-%m-%d}", "one that went well")
