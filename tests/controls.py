"""The table of docs: every control, what shows that it is met, and how each of its checks was turned red."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from checks import baselines, hostrules, hosts
from checks.baselines import Control
from tests.system.host_changes import how
from tests.system.test_mutations import MUTATIONS, UNTRIED

HEAD = """\
# Controls

Made from `checks/baselines`, `tests/system/host_changes.py` and `tests/system/test_mutations.py`
(`pytest tests/unit/test_controls.py --update-golden`). Numbers are those of the baselines, titles are our own words. A
check gives evidence for a part of a control. *Turned red by* is the change by which a test sees the check fail: in a
running stack (its name in `test_mutations.py`), in a test host, or in the facts where neither can show it. *VM*: a test
host shares its kernel and cannot show it; `tests/system/test_vm.py` does, in a virtual machine.
"""
ELSEWHERE = {"grafana.default-credentials": "not tried: Grafana's server is in no registry of packages"}


def page() -> str:
    return "\n".join((HEAD, *_sections())) + "\n"


def _sections() -> Iterator[str]:
    for baseline in baselines.baselines():
        yield f"## {baseline.title}, {baseline.version}\n"
        yield f"{len(baseline.controls)} controls; {baseline.source}.\n"
        yield f"{_where(baseline.controls)}\n"
        yield "| control | asks | shown by | turned red by |\n|---|---|---|---|"
        for control in baseline.controls:
            level = f" (L{control.level})" if control.level else ""
            checks = "<br>".join(f"{each} (VM)" if _own(each) else each for each in control.checks) or _words(control)
            changes = "<br>".join(map(_change, control.checks))
            yield f"| {control.id}{level} | {_cell(control.title)} | {_cell(checks)} | {_cell(changes)} |"
        yield ""


def _where(controls: Iterable[Control]) -> str:
    """How many have checks, and where those can be carried out."""
    found = Counter(frozenset(map(_own, control.checks)) for control in controls if control.checks)
    lab, alone = found[frozenset({False})], found[frozenset({True})]
    both = found[frozenset({False, True})]
    return (
        f"Checks speak to {found.total()} of them: to {lab} on test hosts and running stacks, to {alone} in a virtual "
        f"machine alone, to {both} in both."
    )


def _own(check: str) -> bool:
    """Whether a check wants a kernel that is the server's own."""
    subject, _, rule = check.partition(".")
    return subject == hosts.SUBJECT and rule in hostrules.names() and hostrules.wants_kernel(rule)


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
