"""What an upgrade changes: images and their packages, settings, and what is known of vulnerabilities."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.releases import Image, Record

Change = tuple[str, str]
"""Before and after; empty where it was not there."""
SCHEMA = "schema.json"


@dataclass(frozen=True, kw_only=True)
class ImageChange:
    image: str
    id: Change
    packages: dict[str, Change]
    """By name, those that come, go or have another version."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    release: Change
    images: list[ImageChange]
    parts: list[str]
    """Whose container is replaced for its image's sake."""
    settings: dict[str, Change]
    """Keys of the stack file that come, go or have another default."""
    vulnerabilities: dict[str, Change] | None = None
    """By CVE id and source package the versions that have it; None: not looked at."""
    resources: dict[str, int] | None = None
    """What the engine would do to how many; None: not looked at."""
    schema: list[str] = field(default_factory=list)
    """Steps that data goes through."""


def images(before: Mapping[str, Image], after: Mapping[str, Image]) -> list[ImageChange]:
    """The images that differ, by name."""
    found = []
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        ids = (old.id if old else "", new.id if new else "")
        if ids[0] != ids[1]:
            changed = compare(old.packages if old else {}, new.packages if new else {})
            found.append(ImageChange(image=name, id=ids, packages=changed))
    return found


def compare(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, Change]:
    """What comes, goes or is another, by name."""
    pairs = {name: (before.get(name, ""), after.get(name, "")) for name in sorted({*before, *after})}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def parts(before: Record, after: Mapping[str, str]) -> list[str]:
    """The parts of both that get another image."""
    return sorted(part for part, image in after.items() if before.parts.get(part, image) != image)


def settings(before: Path, after: Path) -> dict[str, Change]:
    """The keys a stack file may have, where two programs' differ; a value is its default."""
    return compare(*(dict(_keys(json.loads((root / "stacks" / SCHEMA).read_text()))) for root in (before, after)))


def _keys(schema: Mapping[str, Any]) -> Iterator[Change]:
    definitions = schema["$defs"]

    def below(node: Mapping[str, Any], path: str) -> Iterator[Change]:
        if "$ref" in node:
            node = definitions[node["$ref"].rpartition("/")[2]] | {k: v for k, v in node.items() if k != "$ref"}
        for choice in node.get("anyOf", ()):
            yield from below(choice, path)
        for name, inner in node.get("properties", {}).items():
            key = f"{path}.{name}" if path else name
            yield key, json.dumps(inner["default"]) if "default" in inner else "none"
            yield from below(inner, key)
        named = [*node.get("patternProperties", {}).values(), node.get("additionalProperties")]
        for inner in named:
            if isinstance(inner, dict):
                yield from below(inner, f"{path}.<name>")

    own = schema["properties"]["config"]["properties"]
    yield from below({"properties": own}, "")
