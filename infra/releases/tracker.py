"""Known vulnerabilities of packages, by the data of Debian's security tracker: a file that the owner provides."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from infra.errors import MaiaError
from infra.releases import Image
from infra.releases.difference import Change

Data = Mapping[str, Any]
"""Source package → CVE id → what is known, by release of Debian."""


def load(file: Path) -> Data:
    """Read the tracker's ``data/json``.

    Raises:
        MaiaError: it is none.
    """
    mend = "name the file that Debian's security tracker serves as data/json"
    try:
        data = json.loads(file.read_text())
    except OSError as error:
        raise MaiaError(str(error.strerror), where=str(file), mend=mend) from None
    except ValueError:
        raise MaiaError("is not JSON", where=str(file), mend=mend) from None
    if not isinstance(data, dict) or not all(
        isinstance(each, dict) and "releases" in each for issues in data.values() for each in _values(issues)
    ):
        raise MaiaError("is not the tracker's data", where=str(file), mend=mend)
    return data


def _values(issues: object) -> Iterable[object]:
    return issues.values() if isinstance(issues, dict) else [issues]


def changes(data: Data, suite: str, before: Iterable[Image], after: Iterable[Image]) -> dict[str, Change]:
    """Every vulnerability that is known of either side, with the versions that have it."""
    old, new = (
        {key: version for image in side for key, version in known(data, suite, image.sources)}
        for side in (before, after)
    )
    return {key: (old.get(key, ""), new.get(key, "")) for key in sorted({*old, *new})}


def known(data: Data, suite: str, sources: Mapping[str, str]) -> Iterator[Change]:
    """Each vulnerability that the tracker knows of these versions, and the version."""
    for source, version in sources.items():
        for issue, about in data.get(source, {}).items():
            state = about["releases"].get(suite)
            if state and state.get("urgency") != "unimportant" and _open(state, version):
                yield f"{issue} {source}", version


def _open(state: Mapping[str, str], version: str) -> bool:
    """A package that was never affected has the fixed version 0."""
    if state["status"] == "open":
        return True
    return state["status"] == "resolved" and older(version, state.get("fixed_version", "0"))


@cache
def older(version: str, than: str) -> bool:
    """By dpkg's own ordering."""
    return than != "0" and subprocess.run(["dpkg", "--compare-versions", version, "lt", than]).returncode == 0
