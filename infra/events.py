"""What the engine reports while it works: progress for a person, and what changed for the caller."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from infra.hosts.voice import AFTERWARDS, NOW

SAME = frozenset({"same", "read", "refresh", "discard", "read-discard", "import"})
"""Operations that change nothing."""
QUICK = frozenset({"Stack", "Part", "Files", "Folder", "Volume", "Certificate"})
"""Kinds of resources that take no time worth telling."""
PAUSE = 1.0
"""Seconds between two reports: dozens of resources begin and end in one."""


@dataclass(frozen=True)
class Change:
    """What the engine did, or would do, to one resource."""

    operation: str
    kind: str
    name: str
    keys: tuple[str, ...] = ()
    """Properties that differ."""


@dataclass
class Outcome:
    """How an operation went."""

    changes: list[Change] = field(default_factory=list)
    counts: Mapping[str, int] = field(default_factory=dict)
    problems: list[tuple[str, str]] = field(default_factory=list)
    """(resource, message) of each error."""
    noise: list[str] = field(default_factory=list)
    """Lines that were no events: how the engine complains before it starts."""
    notes: list[str] = field(default_factory=list)
    """What is worth knowing of the servers."""


class Watch:
    """Reads the engine's events: what happens now for ``say``, what happened for the outcome.

    Args:
        acts: whether it does what it reports; a preview does not, and says only how far it is.
    """

    def __init__(self, say: Callable[[str], None], *, acts: bool) -> None:
        self.outcome = Outcome()
        self._say = say
        self._acts = acts
        self._reported = 0.0
        self._running: dict[str, str] = {}
        self._done = 0
        self._seen = 0

    def see(self, line: str) -> None:
        try:
            event = json.loads(line)
        except ValueError:
            if line.strip():
                self.outcome.noise.append(line)
            return
        if before := event.get("resourcePreEvent"):
            self._begin(before["metadata"])
        elif after := event.get("resOutputsEvent"):
            self._end(after["metadata"])
        elif diagnostic := event.get("diagnosticEvent"):
            self._hear(diagnostic)
        elif summary := event.get("summaryEvent"):
            self.outcome.counts = summary.get("resourceChanges") or {}

    def _begin(self, step: Mapping[str, Any]) -> None:
        if step["op"] in SAME:
            if step["op"] == "refresh":
                self._seen += 1
                self._say(f"looking at what is there: {self._seen}")
            return
        self.outcome.changes.append(
            Change(
                step["op"], _kind(step["type"]), _name(step["urn"]), tuple(step.get("diffs") or step.get("keys") or ())
            )
        )
        if self._acts and _kind(step["type"]) not in QUICK:
            self._running[step["urn"]] = f"{_verb(step['op'])} {_kind(step['type'])} {_name(step['urn'])}"
            self._report()

    def _end(self, step: Mapping[str, Any]) -> None:
        if self._running.pop(step["urn"], None):
            self._done += 1
            if not self._running:
                self._report()

    def _report(self) -> None:
        if self._running and time.monotonic() - self._reported < PAUSE:
            return
        self._reported = time.monotonic()
        now = ", ".join(list(self._running.values())[:3])
        self._say(f"{self._done} done{'; ' + now if now else ''}")

    def _hear(self, diagnostic: Mapping[str, Any]) -> None:
        said = plain(diagnostic["message"])
        if said.startswith(NOW):
            self._say(said.removeprefix(NOW))
        elif said.startswith(AFTERWARDS):
            self._say(said.removeprefix(AFTERWARDS))
            self.outcome.notes.append(said.removeprefix(AFTERWARDS))
        if diagnostic.get("ephemeral") or diagnostic["severity"] != "error":
            return
        message = _told(plain(diagnostic["message"]))
        if message and message not in ("update failed", "preview failed"):
            self.outcome.problems.append((_name(diagnostic.get("urn", "")), message))


def _name(urn: str) -> str:
    return urn.rpartition("::")[2]


def _kind(type_: str) -> str:
    return type_.rpartition(":")[2]


def _verb(operation: str) -> str:
    return {
        "create": "creating", "update": "updating", "delete": "deleting", "replace": "replacing",
        "create-replacement": "replacing", "delete-replaced": "deleting the old",
    }.get(operation, operation)  # fmt: skip


def plain(text: str) -> str:
    """One line without colours."""
    return " ".join(re.sub(r"\x1b\[[0-9;]*m|<\{%.*?%\}>", "", text).split())


def _told(message: str) -> str:
    """The person's part of a diagnostic: of a Python traceback, what was raised."""
    for mark in ("MaiaError: ", "Exception calling application: "):
        message = message.rpartition(mark)[2]
    return message
