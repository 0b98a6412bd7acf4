"""A dump as a file: its form, what its definitions name, and what the programs say that load it."""

from __future__ import annotations

import hashlib
import mmap
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app.migrate.refused import Refused
from app.migrate.verdicts import Verdict

HEAD = 1 << 14
COMPRESSED = (b"\x1f\x8b", b"(\xb5/\xfd", b"BZh", b"\xfd7zXZ", b"\x04\x22M\x18", b"PK\x03\x04")
ENDS = b"PostgreSQL database dump complete"
NAME = rb'("(?:[^"]|"")+"|[a-z_][\w$]*)'
ROLES = (
    re.compile(rb"^(?:GRANT|REVOKE) .* (?:TO|FROM) " + NAME + rb"(?: WITH GRANT OPTION)?;$", re.MULTILINE),
    re.compile(rb"^ALTER [A-Z ]+ .* OWNER TO " + NAME + rb";$", re.MULTILINE),
    re.compile(rb"^ALTER DEFAULT PRIVILEGES FOR ROLE " + NAME + rb" ", re.MULTILINE),
)
POLICY = re.compile(rb"^CREATE POLICY .*? TO ((?:" + NAME + rb"(?:, )?)+)(?: USING| WITH CHECK|;)", re.MULTILINE)
SCHEMA = re.compile(rb"^CREATE SCHEMA (?:IF NOT EXISTS )?" + NAME, re.MULTILINE)
MADE = re.compile(r'^pg_restore: (?:creating (?P<kind>[A-Z ]+)|processing data for table) "(?P<name>.*)"$')
FAULT = re.compile(r"^pg_restore: error: (?:could not execute query: )?(?:ERROR:\s*)?(?P<why>.*)$")
LINE = re.compile(r"^psql:[^:]*:(?P<line>\d+): ERROR:\s*(?P<why>.*)$")
IGNORED = "errors ignored on restore"


@dataclass(frozen=True)
class Dump:
    path: Path
    form: str
    """``custom``, ``directory``, ``tar`` or ``plain``."""

    @property
    def size(self) -> int:
        return sum(file.stat().st_size for file in self._files())

    def digest(self) -> str:
        """Of all that it holds."""
        found = hashlib.sha256()
        for file in self._files():
            with file.open("rb") as content:
                found.update(hashlib.file_digest(content, "sha256").digest())
        return found.hexdigest()

    def _files(self) -> list[Path]:
        return sorted(self.path.iterdir()) if self.form == "directory" else [self.path]


def recognise(path: Path) -> Dump | None:
    """The dump that a path names; none where it is something else.

    Raises:
        Refused: it is one that cannot be loaded.
    """
    path = path.resolve()
    if path.is_dir():
        if not (path / "toc.dat").is_file():
            raise Refused("is a folder without a toc.dat", str(path), "name what pg_dump -Fd wrote")
        return Dump(path, "directory")
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
            file.seek(max(0, path.stat().st_size - HEAD))
            tail = file.read()
    except OSError:
        return None  # whoever reads it as a description says so
    if head.startswith(COMPRESSED):
        raise Refused("is compressed as a whole", str(path), "unpack it, and name what is in it")
    if head.startswith(b"PGDMP"):
        return Dump(path, "custom")
    if head.startswith(b"toc.dat\0") and head[257:262] == b"ustar":
        return Dump(path, "tar")
    if b"PostgreSQL database cluster dump" in head:
        raise Refused("is of a whole cluster (pg_dumpall)", str(path), "dump the one database: pg_dump -Fc")
    if b"-- PostgreSQL database dump" in head and ENDS not in tail:
        raise Refused("is cut short: its last line is missing", str(path), "make the dump again")
    return Dump(path, "plain") if b";\n" in head else None


def schema(dump: Dump) -> bytes:
    """The lines of a plain dump that name roles and schemas: its rows may be more than memory holds."""
    with dump.path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        wanted = re.compile(rb"^(?:GRANT|REVOKE|ALTER|CREATE POLICY|CREATE SCHEMA) .*$", re.MULTILINE)
        return b"\n".join(found[0] for found in wanted.finditer(text))


def roles(text: bytes) -> set[str]:
    """All that its definitions name."""
    found = {name for pattern in ROLES for name in pattern.findall(text)}
    for match in POLICY.finditer(text):
        found.update(re.findall(NAME, match[1]))
    return {_bare(name) for name in found} - {"public", "PUBLIC"}


def schemas(text: bytes) -> set[str]:
    return {_bare(name) for name in SCHEMA.findall(text)}


def _bare(name: bytes) -> str:
    text = name.decode()
    return text[1:-1].replace('""', '"') if text.startswith('"') else text


def faults(said: str, form: str) -> Iterator[Verdict]:
    """What could not be loaded, in the words of the program; no values of rows, which are in later lines."""
    kind, name = "dump", ""
    for line in said.splitlines():
        if form == "plain":
            if found := LINE.match(line):
                yield Verdict("dump", f"line {found['line']}", "left", f"could not be loaded: {found['why']}")
        elif found := MADE.match(line):
            kind, name = (found["kind"] or "table data").lower(), found["name"]
        elif found := FAULT.match(line):
            yield Verdict(kind, name, "left", f"could not be loaded: {found['why']}")


def fatal(code: int, said: str, form: str) -> str:
    """Why the program ended before the dump did; empty where it came to its end."""
    if form == "plain":
        return last(said) if code not in (0, 3) else ""
    return last(said) if code and IGNORED not in said else ""


def last(said: str) -> str:
    """The last error of a program, without its name."""
    lines = [line for line in said.splitlines() if "error:" in line] or said.splitlines()[-1:]
    return lines[-1].split("error:")[-1].strip() if lines else "ended without a word"
