"""The versions of the schema as they lie in this release: folders of SQL files."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

HOME = Path(__file__).parent
SQL = HOME / "sql"
BOOTSTRAP = SQL / "bootstrap.sql"
DOMAIN = re.compile(r"\d\d_(\w+)\.sql")
TABLE = re.compile(r"^create table (\w+)", re.MULTILINE)


@dataclass(frozen=True)
class File:
    """One file of a version; its name's number is its place."""

    version: str
    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def domain(self) -> str:
        """What its tables are about."""
        found = DOMAIN.fullmatch(self.name)
        assert found, f"{self.path}: a file is named NN_domain.sql"
        return found[1]

    @property
    def text(self) -> str:
        return self.path.read_text()

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    @property
    def tables(self) -> list[str]:
        """What it makes, in its order."""
        return TABLE.findall(self.text)


def versions() -> list[str]:
    """From the first to the last."""
    return sorted(folder.name for folder in SQL.iterdir() if folder.is_dir())


def of(version: str) -> list[File]:
    """The files of one version, in the order in which they are applied."""
    return [File(version, path) for path in sorted((SQL / version).glob("*.sql"))]


def domains() -> dict[str, list[str]]:
    """Each domain with its tables, over all versions."""
    found: dict[str, list[str]] = {}
    for version in versions():
        for file in of(version):
            if file.tables:
                found.setdefault(file.domain, []).extend(file.tables)
    return found
