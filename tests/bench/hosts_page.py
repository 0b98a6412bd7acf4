"""The figures of servers as a page, each beside its target."""

from __future__ import annotations

from typing import Protocol

import ansible.release

from tests.bench.page import Promise, head


class Found(Protocol):
    """What was measured."""

    tasks: int
    verdict: str

    def __contains__(self, what: str) -> bool: ...

    def middle(self, what: str) -> float: ...


def write(found: Found, *, rounds: int, load: float) -> str:
    """The whole page."""
    took = found.middle
    promises = [
        Promise("nothing that feeds the roles changed: the server's own part of `maia up`",
                took("unchanged, host"), 2, "s"),
        Promise("`maia up --refresh`, the server's own part, as multiple of plain `ansible-playbook --check`",
                took("verified, host") / took("plain"), 1, "times"),
        Promise("the same with pipelining for both", took("verified, host") / took("plain, pipelined"), 1, "times"),
        Promise("all of `maia up --refresh`, as multiple of plain `ansible-playbook --check`",
                took("verified") / took("plain"), 1, "times"),
        Promise("`maia check` of one server", took("check"), 20, "s"),
    ]  # fmt: skip
    if "three" in found:
        many = took("three") / took("one of three")
        promises.append(Promise("`maia up --refresh` of three servers, as multiple of one", many, 2.5, "times"))
    how = (
        "medians, with what is compared taken in turns in the same run, "
        "on lab hosts: the servers work on the processors of the machine that they are measured from"
    )
    of = f"ansible-core {ansible.release.__version__}; every role, {found.tasks} tasks a server"
    return "\n".join(
        [
            *head("Benchmarks of servers", "tests.bench.hosts", how, of, promises, rounds=rounds, load=load),
            "## Nothing that feeds the roles changed",
            "",
            "Skipped by the hash in the server's mark, and said so. The engine, its program and the verb around them",
            "are the same for a stack without servers.",
            "",
            "| | seconds |",
            "|---|---:|",
            _row("all of `maia up --skip-checks`, from command to prompt", took("unchanged")),
            _row("`pulumi up --skip-preview` by hand, which looks at no server", took("unchanged, engine")),
            _row("the server's own part: connection, facts, mark", took("unchanged, host")),
            "",
            "## Every task looked at",
            "",
            "By `--check` on both sides, with the same roles and variables. Plain `ansible-playbook` has its own",
            "settings (a connection kept for a minute, no pipelining) and need not gather facts.",
            "",
            "| | seconds |",
            "|---|---:|",
            _row("all of `maia up --skip-checks --refresh`, one server", took("verified")),
            _row("of that, the server's own part", took("verified, host")),
            _row("plain `ansible-playbook --check`", took("plain")),
            _row("plain `ansible-playbook --check`, pipelining on", took("plain, pipelined")),
            "",
            *(_three(found) if "three" in found else ["What three servers cost was not measured in this run.", ""]),
            "## Checks of one server",
            "",
            f"`maia check --host`, from command to prompt: {took('check'):.1f} s; it said: {found.verdict}.",
            "",
        ]
    )


def _three(found: Found) -> list[str]:
    return [
        "## Three servers",
        "",
        "Side by side, each in an Ansible of its own, beside one server in turns.",
        "",
        "| | seconds |",
        "|---|---:|",
        _row("all of `maia up --skip-checks --refresh`, one server", found.middle("one of three")),
        _row("all of `maia up --skip-checks --refresh`, three servers", found.middle("three")),
        _row("the servers' own part, one", found.middle("one of three, host")),
        _row("the servers' own part, three", found.middle("three, hosts")),
        _row("from bare to prepared, one", found.middle("bare alone")),
        _row("from bare to prepared, three", found.middle("bare trio")),
        "",
    ]


def _row(what: str, seconds: float) -> str:
    return f"| {what} | {seconds:.1f} |" if seconds >= 10 else f"| {what} | {seconds:.2f} |"
