"""A map held against the tables that are there: what it takes, what has no home, what it lacks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, replace
from graphlib import TopologicalSorter

from psycopg import sql

from app.migrate.adopt import maps, values
from app.migrate.adopt.facts import Column, Facts, Reference
from app.migrate.adopt.maps import Map
from app.migrate.adopt.values import Read, Sql, Value

PEOPLE = ("users", "clinical_practitioners")
"""Tables whose keys are those of accounts."""
CIPHERTEXT = ("handed", "enveloped")
VECTORS = ("vector", "halfvec", "sparsevec")


@dataclass(frozen=True)
class Bound:
    """A map that can be carried out."""

    map: Map
    key: Sql
    """The key of a row ``t``, as text."""
    values: dict[str, Value]
    packed: dict[str, Sql]
    """What becomes ciphertext, as a JSON object over ``t``."""
    taken: tuple[str, ...]
    hidden: tuple[str, ...]
    """Of these, what becomes ciphertext."""
    homeless: tuple[str, ...]
    wanted: Sql
    """Which rows ``t`` it is about."""
    order: Sql
    own: tuple[str, ...]
    """The key of the table of ours."""
    references: tuple[Reference, ...]
    """To others of ours, all of whose columns the map fills."""
    loose: bool
    """Whether nothing but its name says that the key is one."""

    @property
    def source(self) -> sql.Identifier:
        return sql.Identifier(*self.map.source.split("."))

    @property
    def target(self) -> sql.Identifier:
        return sql.Identifier("maia", self.map.target)


@dataclass(frozen=True)
class Unfit:
    """One that cannot, and why; its table stays as it is."""

    map: Map
    why: str
    """Empty where the application has no such table."""
    homeless: tuple[str, ...] = ()


def bind(each: Map, facts: Facts) -> Bound | Unfit:
    """What a map comes to.

    Raises:
        ValueError: it names a table or a column that our schema does not have.
    """
    if each.why:
        there = facts.columns.get(each.source, ())
        return Unfit(each, each.why if there else "", tuple(column.name for column in there))
    if f"maia.{each.target}" not in facts.columns:
        raise ValueError(f"{each.name}: maia has no table {each.target}")
    if each.source not in facts.columns:
        return Unfit(each, "")
    return _Binding(each, facts).bound()


def ordered(found: Sequence[Bound], facts: Facts) -> list[Bound]:
    """What others refer to, before these."""
    places = precedence({each.map.target for each in found}, facts)
    return sorted(found, key=lambda each: places[each.map.target])


def precedence(targets: Set[str], facts: Facts) -> dict[str, int]:
    """The place of each table of ours in an order in which all can be filled."""
    graph: dict[str, set[str]] = {target: set() for target in sorted(targets)}
    for reference in facts.references:
        if {reference.table, reference.target} <= targets and reference.table != reference.target:
            graph[reference.table].add(reference.target)
    return {target: place for place, target in enumerate(TopologicalSorter(graph).static_order())}


class _Binding:
    def __init__(self, each: Map, facts: Facts) -> None:
        self.map, self.facts = each, facts
        self.there = facts.columns[each.source]
        self.names = {_folded(column.name): column for column in self.there}
        self.taken: dict[str, None] = {}
        self.hidden: dict[str, None] = {}

    def bound(self) -> Bound | Unfit:
        ours = self.facts.columns[f"maia.{self.map.target}"]
        if unknown := sorted(self.map.columns.keys() - {column.name for column in ours}):
            raise ValueError(f"{self.map.name}: {self.map.target} has no column {', '.join(unknown)}")
        key = [column.name for name in self.map.key if (column := self._found(name)) is not None] or list(
            self.facts.keys.get(self.map.source, ())
        )
        loose = not key and not self.map.key and "id" in self.names
        if loose:
            key = [self.names["id"].name]
        if not key or len(key) < len(self.map.key):
            return self._unfit("has no key by which its rows are told apart")
        self.key = sql.SQL(" || '/' || ").join(sql.SQL("t.{}::text").format(sql.Identifier(name)) for name in key)
        found: dict[str, Value] = {}
        packed: dict[str, Sql] = {}
        rest = ""
        for column in ours:
            spec = self._spec(column)
            if column.generated or column.kind == "sealed":
                continue
            if spec.rest:
                rest = column.name
            elif column.kind in CIPHERTEXT:
                if parts := self._parts(spec):
                    packed[column.name] = parts
            elif (value := self._value(column, spec)) is not None:
                found[column.name] = value
        for name, spec in self.map.columns.items():
            if spec.through in found:
                found[name] = self._through(name, found[spec.through].take, self._reference(spec.through))
            if spec.count in found and name not in found:
                column = next(each for each in ours if each.name == name)
                within = found[spec.count].take
                found[name] = values.counted(column, self.map.target, spec.count, within, self._order(), self.key)
        homeless = [
            c.name for c in self.there if c.name not in self.taken and c.name not in self.hidden and c.name not in key
        ]
        if rest:
            kept = [name for name in homeless if self.names[_folded(name)].kind not in VECTORS]
            self.taken |= dict.fromkeys(kept)
            found[rest] = self._rest(next(each for each in ours if each.name == rest), kept)
            homeless = [name for name in homeless if name not in kept]
        own = self.facts.keys[f"maia.{self.map.target}"]
        lacking = [
            c.name for c in ours if c.wanted and not c.default and not c.generated and c.name not in {*found, *packed}
        ]
        lacking += [name for name in own if name not in found and name not in lacking]
        lacking += [c.name for c in ours if c.kind == "handed" and c.name not in packed]
        if lacking:
            return self._unfit(f"nothing in it says {', '.join(lacking)}")
        first = self._order()
        return Bound(
            self.map, self.key, found, packed, (*self.taken, *self.hidden), tuple(self.hidden), tuple(homeless),
            self._wanted(), first, own, tuple(self._references({*found})), loose,
        )  # fmt: skip

    def _references(self, filled: Set[str]) -> Iterator[Reference]:
        for each in self.facts.references:
            if each.table == self.map.target and filled >= {*each.columns}:
                yield each

    def _unfit(self, why: str) -> Unfit:
        return Unfit(self.map, why, tuple(column.name for column in self.there))

    # -- columns ----------------------------------------------------------------------------------------------------

    def _spec(self, column: Column) -> maps.Column:
        given = self.map.columns.get(column.name)
        if given is None:
            usual = maps.common().get(column.name, maps.Column())
            return replace(usual, sources=(column.name, *usual.sources))
        return given

    def _value(self, column: Column, spec: maps.Column) -> Value | None:
        if spec.through:
            return None
        seed = self._seed(column, spec) if column.base == "uuid" else ""
        if column.name == "id" and seed and not self.map.columns.get("id", maps.Column()).sources:
            return values.made(spec, column, Read(self.key, self.key, "text"), seed)
        if column.base in ("tstzrange", "daterange"):
            since, until = self._read(spec.sources), self._read(spec.until)
            return values.ranged(column, since, until) if since or until else None
        if spec.packed:
            parts = self._parts(spec, hidden=False)
            return values.made(spec, column, Read(parts, parts, "jsonb"), "") if parts else None
        read = self._read(spec.sources, spec.look)
        if read is None and spec.otherwise is None:
            return None
        value = values.made(spec, column, read, seed)
        return values.unique(value, column, self.map.target, self.key) if spec.unique else value

    def _seed(self, column: Column, spec: maps.Column) -> str:
        """Of which table the key is that a column of identities holds."""
        if spec.of:
            return spec.of
        here: tuple[str, str] = self.map.target, column.name
        while (reference := self.facts.points(*here)) is not None:
            here = reference.target, reference.theirs[0]
        if here[0] in PEOPLE:
            return values.ACCOUNTS
        return self.map.source.removeprefix("public.") if here[0] == self.map.target else here[0]

    def _through(self, name: str, link: Sql, reference: Reference) -> Value:
        """What the row that another column refers to has in the column of this name."""
        query = sql.SQL("(select r.{} from maia.{} r where r.{} = {})").format(
            sql.Identifier(name), sql.Identifier(reference.target), sql.Identifier(reference.theirs[0]), link
        )
        return Value(query, sql.SQL("{}::text").format(query), sql.SQL("m.{}::text").format(sql.Identifier(name)))

    def _reference(self, column: str) -> Reference:
        found = self.facts.points(self.map.target, column)
        if found is None:
            raise ValueError(f"{self.map.name}: {self.map.target}.{column} refers to nothing")
        return found

    def _rest(self, column: Column, kept: Sequence[str]) -> Value:
        pairs = values.packed(kept)
        return values.made(maps.Column(packed=True), column, Read(pairs, pairs, "jsonb"), "")

    # -- what is read -----------------------------------------------------------------------------------------------

    def _found(self, name: str) -> Column | None:
        return self.names.get(_folded(name.partition(".")[0]))

    def _read(self, sources: Sequence[str], look: Sequence[str] = ()) -> Read | None:
        """The first of them that the table has, or what is found by it in another table."""
        for place, name in enumerate(sources):
            column = self._found(name)
            if column is None:
                continue
            self.taken[column.name] = None
            whole: Sql = sql.SQL("t.{}").format(sql.Identifier(column.name))
            if look and all(self.facts.column(f"public.{look[0]}", each) for each in look[1:]):
                table, key, wanted = map(sql.Identifier, look)
                text = sql.SQL("(select l.{}::text from public.{} l where l.{}::text = {}::text limit 1)").format(
                    wanted, table, key, whole
                )
                return Read(text, text, "text")
            if path := name.partition(".")[2]:
                text = sql.SQL("(to_jsonb({}) #>> {})").format(whole, sql.Literal(path.split(".")))
                # An object need not have the key: what comes next may say it.
                if (others := self._read(sources[place + 1 :])) is not None:
                    text = sql.SQL("coalesce({}, {})").format(text, others.text)
                return Read(text, text, "text")
            return Read(sql.SQL("{}::text").format(whole), whole, column.kind)
        return None

    def _parts(self, spec: maps.Column, *, hidden: bool = True) -> Sql | None:
        """All of them that the table has, as one object."""
        there = [column.name for name in spec.sources if (column := self._found(name)) is not None]
        (self.hidden if hidden else self.taken).update(dict.fromkeys(there))
        return values.packed(there) if there else None

    def _wanted(self) -> Sql:
        found: list[Sql] = [sql.SQL("{} is not null").format(self.key)]
        for name in self.map.where:
            column = self._found(name)
            found.append(
                sql.SQL("nullif(t.{}::text, '') is not null").format(sql.Identifier(column.name))
                if column
                else sql.SQL("false")
            )
        if self.map.among:
            found.append(sql.SQL("{} in ({})").format(self.key, sql.SQL(" union ").join(self._among())))
        return sql.SQL(" and ").join(found)

    def _among(self) -> Iterator[Sql]:
        yield sql.SQL("select null::text")
        for place in self.map.among:
            table, _, name = place.partition(".")
            if self.facts.column(f"public.{table}", name):
                yield sql.SQL("select {}::text from public.{}").format(sql.Identifier(name), sql.Identifier(table))

    def _order(self) -> Sql:
        """The oldest first, where the table says which that is."""
        spec = maps.common()["created_at"]
        name = next((c.name for n in ("created_at", *spec.sources) if (c := self._found(n))), "")
        return sql.SQL("t.{}").format(sql.Identifier(name)) if name else self.key


def _folded(name: str) -> str:
    """Names that differ by case or underscore are the same to a map."""
    return name.replace("_", "").lower()
