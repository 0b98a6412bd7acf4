"""Each piece of pg_dump's output, with what it becomes here and why. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from app.migrate.dump import Entry
from app.migrate.scope import OWNER, Selection, stays
from app.migrate.verdicts import Outcome, Target, Verdict

GRANTEE = re.compile(r' (?:TO|FROM) (?:GROUP )?("(?:[^"]|"")+"|[\w$]+)(?: WITH GRANT OPTION)?$', re.DOTALL)
NOBODYS = re.compile(r"^(supabase_\w+|authenticator|dashboard_user|pgbouncer|pgsodium_\w+|pgtle_admin)$")
"""Roles of the platform, which nobody has here."""
ABOUT = (
    "ACL", "COMMENT", "SEQUENCE OWNED BY", "ROW SECURITY", "DEFAULT", "TABLE ATTACH", "INDEX ATTACH", "SECURITY LABEL",
)  # fmt: skip
"""Kinds that are said of another object, and share its fate."""


@dataclass(frozen=True)
class Piece:
    entry: Entry
    outcome: Outcome | None = None
    """None: it is still to be made."""
    why: str = ""
    change: bool = False
    """Whether its text is another one than the source's."""


@dataclass(frozen=True)
class Rules:
    """What is changed in the pieces.

    Args:
        members: extension's members that lie elsewhere here: schema, name, and the schema here.
        defaults: expressions of defaults that call what stays, by table.
    """

    verdicts: Mapping[tuple[int, int], Verdict]
    target: Target
    chosen: Selection
    members: Sequence[tuple[str, str, str]] = ()
    defaults: Mapping[int, Sequence[str]] = field(default_factory=dict)


def judge(entries: Sequence[Entry], rules: Rules) -> list[Piece]:
    """What becomes of every piece before the first is made."""
    by_number = {entry.number: entry for entry in entries}
    moved = _Mover(rules.members)
    found = []
    for entry in entries:
        subject = _subject(entry, by_number)
        outcome, why = _verdict(entry, subject, rules)
        text, change = entry.text, ""
        known = rules.verdicts.get(entry.key)
        if outcome is None:
            text, change = _altered(entry, rules)
            text, moved_names = moved(text)
            change = "; ".join(filter(None, [change, moved_names]))
            if not text.strip():
                outcome = "changed" if change else "moved"
        told = "; ".join(dict.fromkeys(filter(None, [why, change])))
        changed = bool(change) or (known is not None and known.outcome == "changed")
        found.append(Piece(replace(entry, text=text), outcome, told, changed))
    return found


def _subject(entry: Entry, by_number: Mapping[int, Entry]) -> Entry:
    """What the piece is said of."""
    needed = [by_number[number] for number in entry.needs if number in by_number]
    if entry.kind.startswith("PUBLICATION "):
        named = (each for each in by_number.values() if each.kind == "PUBLICATION")
        return next((each for each in named if entry.name.startswith(f"{each.name} ")), entry)
    return needed[0] if entry.kind in ABOUT and needed else entry


def _verdict(entry: Entry, subject: Entry, rules: Rules) -> tuple[Outcome | None, str]:
    schema = subject.name if subject.kind == "SCHEMA" else entry.schema
    if subject.kind == "EXTENSION" and entry is not subject:
        return "moved", ""  # the extension brings its own comment
    found = rules.verdicts.get(subject.key)
    if found is None and schema:
        if why := stays(schema):
            return "left", why
        if not rules.chosen.schema(schema):
            return "left", "not asked for"
    if found is None:
        return None, ""
    if found.outcome == "left":
        return "left", found.why
    if ("the appliance's own" in found.why) or (entry.kind == "SCHEMA" and _present(entry, rules.target)):
        return found.outcome, found.why
    return None, found.why if entry is subject else ""


def _present(entry: Entry, target: Target) -> bool:
    return ("schema", entry.name) in target.present or ("schema", f'"{entry.name}"') in target.present


def _altered(entry: Entry, rules: Rules) -> tuple[str, str]:
    match entry.kind:
        case "ACL":
            return _grants(entry.text, rules.target)
        case "DEFAULT ACL":
            text, _ = _grants(entry.text, rules.target)
            return re.sub(r"FOR ROLE \S+", f"FOR ROLE {OWNER}", text), f"for what {OWNER} makes"
        case "TABLE":
            text = entry.text
            for expression in rules.defaults.get(entry.key[1], ()):
                text = text.replace(f" DEFAULT {expression}", "")
            return text, ""
        case _:
            return entry.text, ""


def _grants(text: str, target: Target) -> tuple[str, str]:
    """Only to roles that are nobody's login; a grant of the platform's says who granted it, which is the owner here."""
    kept, dropped = [], []
    for statement in re.split(r";(?:\n+|$)", text):
        found = GRANTEE.search(statement)
        if found is None or statement.startswith(("SET SESSION", "RESET SESSION")):
            continue
        role = found[1].strip('"').replace('""', '"')
        if role == "postgres":
            continue  # who owned it, and is above all grants here
        if NOBODYS.match(role) or target.roles.get(role):
            dropped.append(role)
        else:
            kept.append(f"{statement};")
    return "\n".join(kept), f"without what {', '.join(sorted(set(dropped)))} might do" if dropped else ""


def grantees(pieces: Iterable[Piece]) -> set[str]:
    """Roles that what is granted names."""
    found = set()
    for piece in pieces:
        if piece.outcome is None and piece.entry.kind in ("ACL", "DEFAULT ACL"):
            for statement in piece.entry.text.split(";\n"):
                if role := GRANTEE.search(statement.rstrip(";")):
                    found.add(role[1].strip('"').replace('""', '"'))
    return found - {"PUBLIC"}


class _Mover:
    """Names of an extension that lies in another schema here."""

    def __init__(self, members: Sequence[tuple[str, str, str]]) -> None:
        self.rules = []
        for (old, new), names in _grouped(members):
            words = "|".join(sorted(map(re.escape, names), key=len, reverse=True))
            self.rules.append((re.compile(rf"(?<![\w$\"]){re.escape(old)}\.(?=(?:{words})(?![\w$]))"), old, new))

    def __call__(self, text: str) -> tuple[str, str]:
        told = []
        for pattern, old, new in self.rules:
            text, number = pattern.subn(f"{new}.", text)
            if number:
                told.append(f"what is an extension's is in {new} instead of {old}")
        return text, "; ".join(told)


def _grouped(members: Sequence[tuple[str, str, str]]) -> Iterator[tuple[tuple[str, str], list[str]]]:
    found: dict[tuple[str, str], list[str]] = {}
    for old, name, new in members:
        if old != new:
            found.setdefault((old, new), []).append(name)
    yield from found.items()
