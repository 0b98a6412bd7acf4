"""The plan, as far as the page shows it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class PlanUnreadable(Exception):
    """The plan's file is missing or not what the appliance writes."""


@dataclass(frozen=True, kw_only=True)
class Part:
    name: str
    title: str
    zones: tuple[str, ...]
    version: str
    image: str
    """``sha256:…``, or empty."""
    exit_address: str
    """Its address in the zone of the exit proxy, or empty."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    stack: str
    origin: str
    hash: str
    parts: tuple[Part, ...]
    absent: dict[str, str]
    """Part to the reason why it is not there."""
    allowed: dict[str, tuple[str, ...]]
    """Part to the places outside (``host:port``) that a person allowed it to reach."""

    def client(self, address: str) -> str:
        """The part that has ``address`` before the exit proxy, else the address itself."""
        return next((part.name for part in self.parts if part.exit_address == address), address)


def parse(text: str) -> Plan:
    """Read what the appliance rendered.

    Raises:
        PlanUnreadable: it is not a plan.
    """
    try:
        data: dict[str, Any] = json.loads(text)
        allowed: dict[str, tuple[str, ...]] = {}
        for grant in data["grants"]:
            place = f"{grant['endpoint']['host']}:{grant['endpoint']['port']}"
            allowed[grant["part"]] = (*allowed.get(grant["part"], ()), place)
        return Plan(
            stack=data["stack"],
            origin=data["origin"],
            hash=hashlib.sha256(text.encode()).hexdigest(),
            parts=tuple(
                Part(
                    name=container["part"],
                    title=container["title"],
                    zones=tuple(container["addresses"]),
                    version=container["version"],
                    image=container["image_id"],
                    exit_address=container["addresses"].get("exit", ""),
                )
                for container in data["containers"]
            ),
            absent={absent["part"]: absent["reason"] for absent in data["absent"]},
            allowed=allowed,
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PlanUnreadable(f"not a plan: {type(error).__name__} {error}") from None


class PlanFile:
    """A plan on disk, parsed again only when the file is another one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept: tuple[tuple[int, int], Plan] | None = None

    def read(self) -> Plan:
        """The plan as it is now.

        Raises:
            PlanUnreadable: missing, or not a plan.
        """
        try:
            stat = self._path.stat()
            version = (stat.st_ino, stat.st_mtime_ns)
            if self._kept is None or self._kept[0] != version:
                self._kept = (version, parse(self._path.read_text()))
            return self._kept[1]
        except OSError as error:
            raise PlanUnreadable(f"{self._path}: {error.strerror}") from None
