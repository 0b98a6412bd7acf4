"""What becomes of each object: decided from the inventory and from what the target has. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from app.migrate import scope
from app.migrate.inventory import Function, Inventory, Thing
from app.migrate.scope import Selection
from app.migrate.tables import Table

Outcome = Literal["moved", "changed", "left"]
TOLD: Mapping[str, str] = {"moved": "moved", "changed": "moved with a change", "left": "not moved"}

OUTSIDE = re.compile(r"\b(net\.http_\w+|http_(?:get|post)|vault\.\w+|cron\.\w+|pgmq\.\w+|graphql\.\w+|pgsodium\.\w+)")
"""Calls in the body of a function to what the appliance does not have."""
NEEDS_SUPERUSER = ("c", "internal")


@dataclass(frozen=True)
class Verdict:
    """Of one object.

    Args:
        why: which change, or why it stays; for what is moved as it is, what is worth knowing of it.
    """

    kind: str
    name: str
    outcome: Outcome
    why: str = ""
    key: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Target:
    """What the appliance's database has before anything comes over."""

    server: int
    available: frozenset[str] = frozenset()
    """Extensions that are packaged."""
    installed: Mapping[str, str] = field(default_factory=dict)
    """Extension to its schema."""
    roles: Mapping[str, bool] = field(default_factory=dict)
    """Role to whether somebody may come in as it, or it is a superuser."""
    present: frozenset[tuple[str, str]] = frozenset()
    """Kind and name of what is there already."""
    rows: tuple[str, ...] = ()
    """Tables where those of the source would go."""


def decide(found: Inventory, target: Target, chosen: Selection) -> list[Verdict]:
    """For everything in the inventory, settings and roles too."""
    court = _Court(found, target, chosen)
    verdicts = [Verdict(thing.kind, thing.name, *court.judge(thing), key=thing.key) for thing in found.things]
    return [*verdicts, *court.beside()]


class _Court:
    def __init__(self, found: Inventory, target: Target, chosen: Selection) -> None:
        self.found, self.target, self.chosen = found, target, chosen
        self.tables: dict[int, Table] = {table.oid: table for table in found.tables}

    def judge(self, thing: Thing) -> tuple[Outcome, str]:
        for rule in (self._place, self._special, self._table, self._leans, self._function, self._roles):
            if verdict := rule(thing):
                return verdict
        return "moved", ""

    def _place(self, thing: Thing) -> tuple[Outcome, str] | None:
        if thing.kind == "extension":
            return self._extension(thing.name.strip('"'))
        if thing.schema and (why := scope.stays(thing.schema)):
            return "left", why
        if thing.schema and not self.chosen.schema(thing.schema):
            return "left", "not asked for"
        if (thing.kind, thing.name) in self.target.present:
            return ("moved", "") if thing.kind == "schema" else ("changed", "the appliance's own takes its place")
        return None

    def _extension(self, name: str) -> tuple[Outcome, str]:
        if name not in self.target.available:
            return "left", f"not packaged for Postgres {self.target.server // 10000} of the appliance"
        at = self.found.extensions[name][0]
        if (here := self.target.installed.get(name, at)) != at:
            return "changed", f"lies in {here} here, and names of it are changed from {at}"
        return "moved", ""

    def _special(self, thing: Thing) -> tuple[Outcome, str] | None:
        match thing.kind:
            case "event trigger":
                return "left", "only a superuser may own one, and nobody is one here"
            case "foreign-data wrapper" | "server" | "foreign table":
                return "left", "leads out of the machine"
            case "language":
                return "left", "its language is not packaged for the appliance"
            case "cast" | "operator class" | "operator":
                return "moved", "made where its functions are"
            case "publication" if thing.name.strip('"').startswith("supabase_"):
                return "left", "the platform's; the realtime part of the appliance makes its own"
            case "default acl" if not thing.schema:
                return "left", "is of a role of the source"
        return None

    def _table(self, thing: Thing) -> tuple[Outcome, str] | None:
        table = self.tables.get(thing.oid) if thing.kind in ("table", "materialized view") else None
        if table is None:
            return None
        if not self.chosen.takes(table.schema, table.name):
            return "left", "not asked for"
        if not table.readable:
            return "left", f"{self.found.role} may not read it; grant select on it"
        if thing.kind == "table" and not table.key and table.kind == "r":
            return "moved", "has no primary key: it is copied whole, and compared by its rows"
        return None

    def _leans(self, thing: Thing) -> tuple[Outcome, str] | None:
        for schema, name in self.found.leaning.get(thing.key, []):
            if (why := scope.stays(schema)) and ("function", name) not in self.target.present:
                if thing.kind == "table":
                    return "changed", f"without the default that calls {name}, which stays ({why})"
                return "left", f"uses {name}, which stays: {why}"
        return None

    def _function(self, thing: Thing) -> tuple[Outcome, str] | None:
        function = self.found.functions.get(thing.oid) if thing.kind in ("function", "procedure") else None
        if function is None:
            return None
        if function.language in NEEDS_SUPERUSER:
            return "left", f"in {function.language}: only a superuser may make it"
        return "moved", "; ".join(_remarks(function))

    def _roles(self, thing: Thing) -> tuple[Outcome, str] | None:
        if thing.kind != "policy":
            return None
        roles = [role for role in self.found.policies.get(thing.oid, []) if role != "public"]
        if foreign := [role for role in roles if self.target.roles.get(role) and role != "postgres"]:
            return "left", f"{', '.join(foreign)}: a role of this name is the appliance's own"
        if made := [role for role in roles if role not in self.target.roles]:
            return "changed", f"{', '.join(made)} is made here, and nobody may log in as it"
        return None

    def beside(self) -> Iterator[Verdict]:
        """What is no object of a schema."""
        for role, name, _ in self.found.settings:
            what = f"{name} of {role or 'the database'}"
            if role:
                yield Verdict("setting", what, "left", "roles are the appliance's own")
            elif any(word in name.lower() for word in scope.SECRET_SETTINGS):
                yield Verdict("setting", what, "left", "by its name it is a secret of the source's")
            else:
                yield Verdict("setting", what, "moved")
        for name in self.found.counts.get("vault secrets", {}):
            yield Verdict("secret", name, "left", scope.PLATFORM["vault"])
        for name in self.found.counts.get("cron jobs", {}):
            yield Verdict("job", name, "left", scope.PLATFORM["cron"])
        for bucket, number in self.found.counts.get("files", {}).items():
            yield Verdict(
                "files", f"{bucket}: {number}", "left", "their rows come over; their content with the storage part"
            )
        if self.found.large_objects:
            yield Verdict("large objects", str(self.found.large_objects), "left", "nothing of Supabase's reads them")


def _remarks(function: Function) -> Iterable[str]:
    if function.fault:
        yield f"broken at the source too: {function.fault}"
    if outside := sorted(set(OUTSIDE.findall(function.body))):
        yield f"calls {', '.join(outside)}, which is not here"
    if function.definer and not function.pinned:
        yield "runs as its owner and does not say where names are looked up (search_path)"
