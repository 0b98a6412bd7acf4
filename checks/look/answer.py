"""The answer to a question: facts by section."""

from __future__ import annotations

from typing import Any

from checks.look import network, people, system, tree
from checks.look.means import COMMANDS, Ask

LOOKS = {**system.LOOKS, **network.LOOKS, **people.LOOKS, **tree.LOOKS}


def answer(ask: Ask) -> dict[str, Any]:
    """The facts asked for; one that cannot be had says why, and the others come all the same."""
    facts: dict[str, Any] = {}
    for section in ask["sections"]:
        try:
            facts[section] = LOOKS[section](ask)
        except Exception as error:
            facts[section] = {"error": f"{type(error).__name__}: {error}"}
    return {"facts": facts, "commands": COMMANDS}
