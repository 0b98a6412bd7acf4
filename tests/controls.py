"""The table of docs: every control, what shows that it is met, and how each of its checks was turned red."""

from __future__ import annotations

from collections.abc import Iterator

from checks import baselines
from checks.baselines import Control
from tests.system.host_changes import how
from tests.system.test_mutations import MUTATIONS, UNTRIED

HEAD = """\
# Controls

Made from `checks/baselines`, `tests/system/host_changes.py` and `tests/system/test_mutations.py`
(`pytest tests/unit/test_controls.py --update-golden`). Numbers are those of the baselines, titles are our own words. A
check gives evidence for a part of a control. *Turned red by* is the change by which a test sees the check fail: in a
running stack (its name in `test_mutations.py`), in a test host, or in the facts where neither can show it.
"""
ELSEWHERE = {"grafana.default-credentials": "not tried: Grafana's server is in no registry of packages"}


def page() -> str:
    return "\n".join((HEAD, *_sections())) + "\n"


def _sections() -> Iterator[str]:
    for baseline in baselines.baselines():
        yield f"## {baseline.title}, {baseline.version}\n"
        yield f"{len(baseline.controls)} controls; {baseline.source}.\n"
        yield "| control | asks | shown by | turned red by |\n|---|---|---|---|"
        for control in baseline.controls:
            level = f" (L{control.level})" if control.level else ""
            checks = "<br>".join(control.checks) or _words(control)
            changes = "<br>".join(map(_change, control.checks))
            yield f"| {control.id}{level} | {_cell(control.title)} | {_cell(checks)} | {_cell(changes)} |"
        yield ""


def _words(control: Control) -> str:
    if control.waiver:
        return f"*waived until {control.waiver.expires}*: {control.waiver.reason}"
    return f"*manual*: {control.manual}" if control.manual else f"*planned, not met*: {control.planned}"


def _change(check: str) -> str:
    if check == "host.reached":
        return "test host: another key, another user"
    if check.startswith("host."):
        return how(check.removeprefix("host."))
    if reason := (UNTRIED | ELSEWHERE).get(check):
        return reason
    subject, _, rule = check.partition(".")
    names = [
        name for name, (red, _) in MUTATIONS.items() if any(_is(each, subject, rule) for each in red)
    ]  # a check's name is subject[part-rule]
    return "stack: " + ", ".join(names[:2])


def _is(name: str, subject: str, rule: str) -> bool:
    found, _, case = name.removesuffix("]").partition("[")
    return found == subject and (case == rule or case.endswith(f"-{rule}"))


def _cell(text: str) -> str:
    return text.replace("|", "¦").replace("\n", " ")
