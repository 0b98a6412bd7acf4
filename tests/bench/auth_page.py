"""The figures of the auth service as a page, each beside its target."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tests.bench.machine import middle
from tests.bench.page import Promise, head


@dataclass(frozen=True)
class Guess:
    """Seconds that answers took for an account that is there and for one that is not."""

    known: Sequence[float]
    unknown: Sequence[float]

    @property
    def chance(self) -> float:
        """How often who guesses by the time of one answer of each is right: 0.5 is as good as no look at all."""
        ordered = sorted(self.unknown)
        below = sum((bisect_left(ordered, each) + bisect_right(ordered, each)) / 2 for each in self.known)
        share = below / (len(self.known) * len(ordered))
        return max(share, 1 - share)


class Found(Protocol):
    """What was measured."""

    @property
    def guessed(self) -> Mapping[str, Guess]: ...

    @property
    def workers(self) -> Sequence[float]: ...

    def rate(self, what: str) -> float: ...

    def late(self, what: str) -> float: ...


def write(found: Found, *, rounds: int, load: float, cost: int, clients: int) -> str:
    """The whole page."""
    rate = found.rate
    promises = [
        Promise("password sign-ins, as share of bare bcrypt on all cores",
                100 * rate("sign-ins") / rate("bare bcrypt"), 90, "%", least=True),
        Promise("`GET /user`, asked at the service", rate("user"), 2000, "a second", least=True),
        Promise("of that, 99 of 100 within", found.late("user"), 20, "ms"),
        Promise("`GET /user` through the gateway, as share of that",
                100 * rate("user by the gateway") / rate("user"), 70, "%", least=True),
        Promise("refreshes", rate("refreshes"), 800, "a second", least=True),
        Promise("a token checked by `app.common`, as multiple of the bare library",
                rate("bare library") / rate("app.common"), 1.2, "times"),
    ]  # fmt: skip
    how = (
        "medians, with what is compared taken in turns in the same run; "
        "the load comes from the same processors as the answers"
    )
    of = f"bcrypt at cost {cost}, {clients} connections"
    workers = ", ".join(f"{size:.0f}" for size in sorted(found.workers, reverse=True))
    return "\n".join(
        [
            *head("Benchmarks of the auth service", "tests.bench.auth", how, of, promises, rounds=rounds, load=load),
            "## In numbers",
            "",
            "| what | a second | 99 of 100 within |",
            "|---|---:|---:|",
            *(_row(found, name, what) for name, what in ASKED.items()),
            f"| bare `bcrypt.checkpw`, a thread for each core | {rate('bare bcrypt'):,.1f} | |",
            f"| a token checked by `app.common`, one thread | {rate('app.common'):,.0f} | |",
            f"| the same by the bare library | {rate('bare library'):,.0f} | |",
            "",
            f"Resident memory of the service's processes, after all of that: {workers} MiB.",
            "",
            "## Who has an account",
            "",
            "One connection asks in turns for an account that is there and for one that is not. The last column says",
            "how often somebody is right who has the time of one answer of each and takes one of the two for the",
            "slower: 50 % is as good as no look at all.",
            "",
            "| asked for | known, median | unknown, median | known, 95 of 100 | unknown, 95 of 100 | right |",
            "|---|---:|---:|---:|---:|---:|",
            *(_guess(what, guess) for what, guess in found.guessed.items()),
            "",
        ]
    )


ASKED = {
    "password sign-ins, at the service": "sign-ins",
    "`GET /user`, at the service": "user",
    "`GET /user`, through the gateway with TLS": "user by the gateway",
    "refreshes, at the service": "refreshes",
}


def _row(found: Found, name: str, what: str) -> str:
    return f"| {name} | {found.rate(what):,.{1 if what == 'sign-ins' else 0}f} | {found.late(what):,.1f} ms |"


def _guess(what: str, guess: Guess) -> str:
    cells = [f"{1000 * middle(list(times)):,.2f} ms" for times in (guess.known, guess.unknown)]
    cells += [f"{1000 * sorted(times)[int(0.95 * len(times))]:,.2f} ms" for times in (guess.known, guess.unknown)]
    return f"| {what} | {' | '.join(cells)} | {100 * guess.chance:.0f} % |"
