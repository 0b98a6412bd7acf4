"""Wishes for a server as data: which fact, and what is asked of it. ``wishes/*.yaml`` holds them, by group.

A document gives all its rules a ``fact``, or one ``under`` which each has its name; a rule may name its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent / "wishes"
SECTIONS = ("os", "docker", "packages")
"""Facts that conditions are about."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    group: str
    name: str
    fact: tuple[str | int, ...]
    """Where the fact is: its section, and the way in it."""
    asked: Mapping[str, Any] = field(default_factory=dict)
    """Tests, by name in ``TESTS``: all of them must hold."""
    needs: str = ""
    """A condition of `checks.hostrules`; where it does not hold, nothing can be proven."""
    where: tuple[str, ...] = ()
    """A fact without which there is nothing to ask."""

    @property
    def rule(self) -> str:
        return f"{self.group}.{self.name}"

    def holds(self, observed: Any) -> bool:
        return all(TESTS[name](observed, wish) for name, wish in self.asked.items())

    @property
    def expected(self) -> str:
        """In words."""
        return " and ".join(WORDS[name].format(_said(wish)) for name, wish in self.asked.items())


def _said(wish: Any) -> str:
    if isinstance(wish, list):
        return ", ".join("not set" if each is None else str(each) for each in wish)
    return str(wish).lower() if isinstance(wish, bool) else str(wish)


def _text(value: Any) -> str | None:
    return None if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")  # neither at least nor at most anything


def _words(value: Any) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else re.split(r"[,\s]+", str(value or ""))


def _beyond(found: str, most: str) -> bool:
    """Whether ``0644 root root`` allows more than ``most``, whose owner and group may be one of several."""
    (mode, *names), (limit, *allowed) = found.split(), most.split()
    others = any(name not in may.split("|") for name, may in zip(names, allowed))
    return bool(int(mode, 8) & ~int(limit, 8)) or others


TESTS: Mapping[str, Callable[[Any, Any], bool]] = {
    "is": lambda found, wish: _text(found) == _text(wish),
    "in": lambda found, wish: _text(found) in [_text(each) for each in wish],
    "least": lambda found, wish: _number(found) >= wish,
    "most": lambda found, wish: _number(found) <= wish,
    "match": lambda found, wish: found is not None and bool(re.search(wish, _text(found) or "")),
    "lacks": lambda found, wish: not re.search(wish, _text(found) or ""),
    "has": lambda found, wish: set(wish) <= set(_words(found)),
    "without": lambda found, wish: found is not None and not set(wish) & set(_words(found)),
    "some": lambda found, wish: any(re.search(wish, line) for line in found or ()),
    "none": lambda found, wish: found is not None and not any(re.search(wish, line) for line in found),
    "any": lambda found, wish: any(name in (found or {}) for name in wish),
    "present": lambda found, wish: found is not None,
    "absent": lambda found, wish: not found,
    "mode": lambda found, wish: bool(found) and not any(_beyond(each, wish) for each in found.values()),
    "mode-if-there": lambda found, wish: not any(_beyond(each, wish) for each in (found or {}).values()),
}
WORDS: Mapping[str, str] = {
    "is": "{}",
    "in": "one of {}",
    "least": "at least {}",
    "most": "at most {}",
    "match": "like {}",
    "lacks": "nothing like {}",
    "has": "with {}",
    "without": "without {}",
    "some": "a line like {}",
    "none": "no line like {}",
    "any": "one of {} set",
    "present": "there",
    "absent": "not there",
    "mode": "{} or less",
    "mode-if-there": "{} or less, if there",
}


@cache
def wishes() -> tuple[Wish, ...]:
    """All of them, in their files' order."""
    return tuple(wish for path in sorted(FOLDER.glob("*.yaml")) for wish in _of(path))


def _of(path: Path) -> Iterator[Wish]:
    for document in yaml.safe_load_all(path.read_text()):
        rules = document["rules"]
        for name in rules:
            own = rules[name] if isinstance(rules, dict) else document["all"]
            yield _wish(path.stem, name, own if isinstance(own, dict) else {"is": own}, document)


def _wish(group: str, name: str, own: Mapping[str, Any], shared: Mapping[str, Any]) -> Wish:
    asked = {key: value for key, value in own.items() if key in TESTS}
    fact = own.get("fact") or shared.get("fact") or [*shared.get("under", ()), name]
    if "file" in own:
        fact = ["files", own["file"]]
        if own.get("optional"):
            asked = {"mode-if-there": asked["mode"]}
    needs = own.get("needs", shared.get("needs", ""))
    return Wish(group=group, name=name, fact=tuple(fact), asked=asked, needs=needs, where=tuple(own.get("where", ())))


def ask(extra: Mapping[str, set[str]], groups: set[str] | None = None) -> dict[str, set[str]]:
    """The question that the wishes, or those of some groups, and ``extra`` come to."""
    chosen = [wish for wish in wishes() if groups is None or wish.group in groups]
    asked: dict[str, set[str]] = {name: set(values) for name, values in extra.items()}
    asked.setdefault("sections", set()).update(SECTIONS, (str(wish.fact[0]) for wish in chosen))
    for section in ("sysctl", "modules", "files", "units", "texts"):
        own = {str(wish.fact[1]) for wish in chosen if wish.fact[0] == section}
        asked[section] = asked.get(section, set()) | own
    return asked


def find(facts: Mapping[str, Any], way: tuple[str | int, ...]) -> Any:
    """The fact at the end of the way; None where it leads nowhere."""
    found: Any = facts
    for step in way:
        try:
            found = found[step]
        except (KeyError, IndexError, TypeError):
            return None
    return found
