"""The figures as a page, each beside its target, and what misses it said first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from textwrap import wrap

from infra.plan import Plan
from infra.toolchain import tools
from tests.bench import machine
from tests.bench.appliance import ALL, Runs

BUSY = 0.5
"""Load at the start from which the page says that the machine had other work."""
OF_THE_DAY = "Figures belong to the machine and the day, so no test asserts them."
WIDTH = 120
"""Characters of a line."""


@dataclass(frozen=True)
class Promise:
    """One target."""

    what: str
    found: float
    limit: float
    unit: str
    least: bool = False
    """Whether the limit is the least that is promised, not the most."""

    @property
    def kept(self) -> bool:
        return self.found >= self.limit if self.least else self.found <= self.limit

    @property
    def row(self) -> str:
        sign = "≥" if self.least else "≤"
        verdict = "kept" if self.kept else "**missed**"
        return f"| {self.what} | {_number(self.found)} {self.unit} | {sign} {self.limit:g} {self.unit} | {verdict} |"


def head(
    title: str, program: str, how: str, of: str, promises: Sequence[Promise], *, rounds: int | None, load: float
) -> list[str]:
    """What every page begins with: who wrote it, when, on what, beside how much other work, and each target.

    Args:
        program: the module that took the figures.
        how: what is to be known of them before they are read: the end of a sentence.
        of: what was measured, beside the machine.
        rounds: how often; None where that says nothing.
    """
    missed = [promise.what for promise in promises if not promise.kept]
    about = f"Written by `python -m {program}`, which takes every figure anew: {how}. {OF_THE_DAY}"
    taken = f"**{datetime.now(UTC):%Y-%m-%d %H:%M} UTC**, {machine.describe()}; {of}."
    taken += f" Rounds: {rounds}." if rounds else ""
    taken += f" **The machine had other work**: its load was {load:.1f} at the start." if load > BUSY else ""
    return [
        f"# {title}",
        "",
        *wrap(about, WIDTH),
        "",
        *wrap(taken, WIDTH),
        "",
        "Missed: " + "; ".join(missed) + "." if missed else "Every target is kept.",
        "",
        "| what | found | target | |",
        "|---|---:|---:|---|",
        *(promise.row for promise in promises),
        "",
    ]


def versions(plan: Plan, compose: str) -> str:
    known = {part.part: part.version for part in plan.containers}
    return f"engine {tools.PULUMI_VERSION}, Postgres {known['postgres']}, Docker Compose {compose}"


def write(
    *,
    load: float,
    versions: str,
    parts: int,
    first: Runs,
    unchanged: Runs,
    bare: Mapping[str, float],
    started: Runs,
    compose: Mapping[str, float],
    queries: Mapping[str, float],
    rounds: int,
) -> str:
    """The whole page."""
    share = unchanged.middle("pulumi up")
    ready = started.middle("pulumi up") + started.middle("health")
    promises = [
        Promise("`maia up` with nothing to do: all of it", unchanged.middle(ALL), 20, "s"),
        Promise("of that, the engine's step, as multiple of the bare engine", share / bare["bare"], 2, "times"),
        Promise("`maia up` of a new stack, caches warm", first.middle(ALL), 90, "s"),
        Promise(
            "from images to healthy (engine and health), as multiple of `docker compose up -d --wait`",
            ready / compose["up --wait, 10s"],
            2,
            "times",
        ),
        Promise(
            "`pgbench -S` inside, as share of the same server outside",
            100 * queries["inside"] / queries["outside"],
            90,
            "%",
            least=True,
        ),
    ]
    how = "medians, with what is compared taken in turns in the same run"
    of = f"{versions}; {parts} parts"
    return "\n".join(
        [
            *head("Benchmarks", "tests.bench", how, of, promises, rounds=rounds, load=load),
            "## `maia up` with nothing to do",
            "",
            "It looks at every container, network, volume, file, role, bucket and user, and then verifies the running",
            "appliance; `docker compose up -d` compares its file with container labels. The checks said:",
            f"{'; '.join(unchanged.verdicts)}.",
            "",
            *_steps(unchanged),
            "",
            "| for comparison | seconds |",
            "|---|---:|",
            f"| `pulumi up --skip-preview` by hand, same stack | {_number(bare['bare'])} |",
            f"| the same with `--refresh`, which `maia up` always asks for | {_number(bare['bare, refreshing'])} |",
            f"| `docker compose up -d`, same parts, unchanged | {_number(compose['up, unchanged'])} |",
            "",
            "## From images to healthy",
            "",
            "All parts stopped and removed, volumes kept. `maia up` also makes networks, files, roles and users again.",
            "Docker looks at a container's health for the first time after a whole interval; `maia up` asks the same",
            "question itself and need not wait for that, so Compose is shown with a short interval too.",
            "",
            "| | seconds |",
            "|---|---:|",
            f"| `maia up --skip-checks`, all of it | {_number(started.middle(ALL))} |",
            f"| of that, engine and health | {_number(ready)} |",
            f"| `docker compose up -d --wait`, health every 10 s as here | {_number(compose['up --wait, 10s'])} |",
            f"| `docker compose up -d --wait`, health every second | {_number(compose['up --wait, 1s'])} |",
            "",
            "## A new stack, caches warm",
            "",
            *_steps(first),
            "",
            "## Postgres",
            "",
            "`pgbench -S`, scale 10, 4 clients, over TCP and TLS 1.3 with the certificate verified, from a container",
            "on the server's network. Outside: the same image and settings by a plain `docker run`, without limits.",
            "",
            "| | transactions a second |",
            "|---|---:|",
            f"| inside the appliance | {queries['inside']:,.0f} |",
            f"| outside | {queries['outside']:,.0f} |",
            "",
        ]
    )


def _steps(runs: Runs) -> list[str]:
    rows = [f"| {step} | {_number(runs.middle(step))} |" for step in runs.steps if step != ALL]
    return [
        "| step | seconds |",
        "|---|---:|",
        *rows,
        f"| **all, from command to prompt** | {_number(runs.middle(ALL))} |",
    ]


def _number(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"
