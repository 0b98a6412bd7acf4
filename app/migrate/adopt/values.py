"""How a value of the application becomes one of ours, and is read back: SQL over rows ``t`` and ``m``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from psycopg import sql

from app.migrate.adopt import facts, maps

NAMESPACE = "8a4f3f0e-6f0b-5f0c-9c58-5d2f5f5f0d1a"
"""Within it, identities are made from keys that are none."""
ELEMENTS = ("fire", "water", "earth", "air", "aether")
PHASES = ("F1", "F2", "F3", "W1", "W2", "W3", "E1", "E2", "E3", "A1", "A2", "A3")
ACCOUNTS = "users"
"""Identities of people are made nowhere but by whoever lets them in."""
STAMPS = ("timestamp", "timestamptz", "date")
WHOLE = ("int2", "int4", "int8")
MILLISECONDS = 100_000_000_000
"""A number that is larger counts milliseconds since 1970, no seconds."""

CHUNK = 40

Sql = sql.Composable

_OBJECT = "case jsonb_typeof({0}) when 'object' then {0} else jsonb_build_object('value', {0}) end"


@dataclass(frozen=True)
class Read:
    """One value of the source."""

    text: Sql
    whole: Sql
    """The same in its own type."""
    kind: str


@dataclass(frozen=True)
class Value:
    take: Sql
    """What is written, of a type that needs no more than a cast."""
    said: Sql
    """What was read, as a text that the written value can be turned back into."""
    back: Sql
    """The same text, from the written value."""
    fault: Sql | None = None
    """Whether it cannot be turned into one of ours."""


def made(spec: maps.Column, column: facts.Column, first: Read | None, seed: str) -> Value:
    """The value of one column.

    Args:
        first: what is read; none where there is only what stands in its place.
        seed: the table that identities are made of; empty where it holds no identity.
    """
    if first is not None and column.base in ("jsonb", "json"):
        found = _sql("to_jsonb({})", first.whole)
        return _plain(column, _sql(_OBJECT, found))
    if first is None:
        return _plain(column, _sql("({})::{}", sql.Literal(spec.otherwise), sql.SQL(column.base)))
    if spec.words:
        first = _words(first, spec.words)
    if seed and seed != ACCOUNTS:
        return _plain(column, identity(first.text, seed, spec.salt))
    convert = _KINDS.get(column.kind) or _KINDS.get(column.base.partition("(")[0], _other)
    return _else(spec, column, convert(first, column, spec))


def ranged(column: facts.Column, since: Read | None, until: Read | None) -> Value:
    """A range from one value to another; open where there is none."""
    low, high = (_time(each)[0] if each else sql.SQL("null::timestamptz") for each in (since, until))
    if column.base == "daterange":
        take = _sql("daterange(({})::date, ({})::date)", low, high)
    else:
        take = _sql("tstzrange({}, {})", low, high)
    fault = _sql("coalesce({} > {}, false)", low, high)
    return _plain(column, _sql("case when {} then null else {} end", fault, take), fault)


def unique(value: Value, column: facts.Column, table: str, key: Sql) -> Value:
    """The value, told apart where it is another row's too."""
    name = sql.Identifier(column.name)
    there = _sql("exists (select from {} u where lower(u.{}) = {})", sql.Identifier("maia", table), name, value.take)
    take = _sql(
        "{0} || case when count(*) over (partition by {0}) > 1 or {1} then '-' || left(md5({2}), 8) else '' end",
        value.take, there, key,
    )  # fmt: skip
    return _plain(column, take)


def counted(column: facts.Column, table: str, link: str, within: Sql, order: Sql, key: Sql) -> Value:
    """The number of a row within what it belongs to, after those that are there."""
    take = _sql(
        "(coalesce((select max(c.{0}) from {1} c where c.{2} = {3}), 0)"
        " + row_number() over (partition by {3} order by {4}, {5}))::integer",
        sql.Identifier(column.name), sql.Identifier("maia", table), sql.Identifier(link), within, order, key,
    )  # fmt: skip
    return _plain(column, take)


def identity(text: Sql, seed: str, salt: str = "") -> Sql:
    """The identity that a key is, or that always follows from it."""
    name = f"{seed}/{salt}/" if salt else f"{seed}/"
    derived = _sql(
        "extensions.uuid_generate_v5({}, {} || {})", sql.SQL(f"'{NAMESPACE}'::uuid"), sql.Literal(name), text
    )
    if salt:
        return derived
    return _sql("case when pg_input_is_valid({0}, 'uuid') then ({0})::uuid else {1} end", text, derived)


def array(parts: Sequence[Sql]) -> Sql:
    """A list in JSON of however many; a function takes a hundred arguments."""
    chunks = [parts[first : first + CHUNK] for first in range(0, max(len(parts), 1), CHUNK)]
    return sql.SQL(" || ").join(_sql("jsonb_build_array({})", sql.SQL(", ").join(chunk)) for chunk in chunks)


def packed(names: Sequence[str]) -> Sql:
    """An object in JSON of these columns, without those that are empty."""
    pairs = [_sql("{}, to_jsonb(t.{})", sql.Literal(name), sql.Identifier(name)) for name in names]
    chunks = [pairs[first : first + CHUNK] for first in range(0, max(len(pairs), 1), CHUNK)]
    made = (_sql("jsonb_build_object({})", sql.SQL(", ").join(chunk)) for chunk in chunks)
    return _sql("jsonb_strip_nulls({})", sql.SQL(" || ").join(made))


def _sql(template: str, *parts: Sql) -> Sql:
    return sql.SQL(template).format(*parts)


def _plain(column: facts.Column, take: Sql, fault: Sql | None = None) -> Value:
    """A value that is compared in our own form."""
    return Value(take, _sql("({})::text", take), _back(column), fault)


def _back(column: facts.Column) -> Sql:
    return _sql("m.{}::text", sql.Identifier(column.name))


def _else(spec: maps.Column, column: facts.Column, value: Value) -> Value:
    if spec.otherwise is not None:
        fallback = _sql("({})::{}", sql.Literal(str(spec.otherwise)), sql.SQL(column.base))
    elif column.wanted and column.default:
        fallback = _sql("({})::{}", sql.SQL(column.default), sql.SQL(column.base))
    else:
        return value
    found = _sql("coalesce({}, {})", value.take, fallback)
    return Value(found, _sql("coalesce({}, ({})::text)", value.said, fallback), value.back, value.fault)


def _words(read: Read, words: Mapping[str, str]) -> Read:
    """A word of theirs as one of ours; one that the map does not know is tried as it is."""
    low = _sql("lower(btrim({}))", read.text)
    cases = sql.SQL(" ").join(
        _sql("when {} then {}", sql.Literal(theirs.lower()), sql.Literal(ours)) for theirs, ours in words.items()
    )
    found = _sql("nullif(case {0} {1} else {0} end, '')", low, cases)
    return Read(found, found, "text")


def _text(read: Read, column: facts.Column, spec: maps.Column) -> Value:
    return _plain(column, _sql("nullif({}, '')", read.text))


def _other(read: Read, column: facts.Column, spec: maps.Column) -> Value:
    """A type that has no rule of its own: as it is written."""
    valid = _sql("pg_input_is_valid({}, {})", read.text, sql.Literal(column.base))
    take = _sql("case when {} then ({})::{} end", valid, read.text, sql.SQL(column.base))
    return _plain(column, take, _sql("{} is not null and not {}", read.text, valid))


def _label(read: Read, column: facts.Column, spec: maps.Column) -> Value:
    return _plain(column, _sql("nullif(btrim({}), '')", read.text))


def _slug(read: Read, column: facts.Column, spec: maps.Column) -> Value:
    return _plain(column, _sql("nullif(btrim(regexp_replace(lower({}), '[^a-z0-9]+', '-', 'g'), '-'), '')", read.text))


def _choice(read: Read, column: facts.Column, spec: maps.Column) -> Value:
    return _plain(column, _sql("nullif(lower(btrim({})), '')", read.text))


def _phase(read: Read, column: facts.Column, spec: maps.Column) -> Value:
    numbers = sql.SQL(" ").join(
        _sql("when {} then {}", sql.Literal(str(place)), sql.Literal(code)) for place, code in enumerate(PHASES, 1)
    )
    return _plain(column, _sql("nullif(case btrim({0}) {1} else upper(btrim({0})) end, '')", read.text, numbers))


def _number(read: Read, column: facts.Column, spec: maps.Column) -> Value:
    valid = _sql("pg_input_is_valid({}, 'numeric')", read.text)
    take = _sql("case when {} then ({})::numeric end", valid, read.text)
    fault = _sql("({} is not null and not {})", read.text, valid)
    whole = column.base in ("smallint", "integer", "bigint")
    if (spec.times, spec.plus) != (1, 0):
        take = _sql("({} * {} + {})", take, sql.Literal(spec.times), sql.Literal(spec.plus))
        take = _sql("round(({})::numeric)", take) if whole else take
    elif spec.rounded:
        take = _sql("round({})", take)
    elif whole:
        fault = _sql("({} or coalesce({} <> trunc({}), false))", fault, take, take)
    if column.base in ("real", "double precision"):
        return Value(take, _sql("({})::{}::text", take, sql.SQL(column.base)), _back(column), fault)
    scale = sql.SQL(column.base.rstrip(")").partition(",")[2] or "9")
    said = _sql("trim_scale(round({}, {}))::text", take, scale)
    return Value(take, said, _sql("trim_scale(m.{}::numeric)::text", sql.Identifier(column.name)), fault)


def _flag(read: Read, column: facts.Column, spec: maps.Column) -> Value:
    valid = _sql("pg_input_is_valid({}, 'boolean')", read.text)
    take = _sql("case when {} then ({})::boolean end", valid, read.text)
    return _plain(column, take, _sql("{} is not null and not {}", read.text, valid))


def _time(read: Read) -> tuple[Sql, Sql | None]:
    """A moment, and whether there is none in it. Without a zone, it was of UTC."""
    if read.kind == "timestamptz":
        return read.whole, None
    if read.kind in STAMPS:
        return _sql("(({})::timestamp at time zone 'UTC')", read.whole), None
    if read.kind in WHOLE:
        unit = _sql("case when {} > {} then 1000.0 else 1.0 end", read.whole, sql.Literal(MILLISECONDS))
        return _sql("to_timestamp({} / {})", read.whole, unit), None
    valid = _sql("pg_input_is_valid({}, 'timestamptz')", read.text)
    take = _sql("case when {} then ({})::timestamptz end", valid, read.text)
    return take, _sql("{} is not null and not {}", read.text, valid)


def _moment(read: Read, column: facts.Column, spec: maps.Column) -> Value:
    take, fault = _time(read)
    if read.kind in ("timestamp", "date"):
        name = sql.Identifier(column.name)
        back = _sql(f"(m.{{}} at time zone 'UTC')::{read.kind}::text", name)
        return Value(take, _sql("({})::text", read.whole), back, fault)
    return _plain(column, take, fault)


def _day(read: Read, column: facts.Column, spec: maps.Column) -> Value:
    take, fault = _time(read)
    return _plain(column, _sql("({} at time zone 'UTC')::date", take), fault)


def _list(read: Read, column: facts.Column, spec: maps.Column) -> Value:
    """A list of words, from an array of theirs, a list in JSON, or one word."""
    found = _sql("to_jsonb({})", read.whole)
    items = _sql(
        "array(select btrim(e) from jsonb_array_elements_text(case jsonb_typeof({0}) when 'array' then {0}"
        " else jsonb_build_array({0}) end) e where btrim(e) <> '')",
        found,
    )
    return _plain(column, _sql("case when {} is not null then {} end", read.text, items))


_KINDS: Mapping[str, Callable[[Read, facts.Column, maps.Column], Value]] = {
    "label": _label, "archetype": _label, "slug": _slug, "element": _choice, "life_domain": _choice,
    "phase_code": _phase, "real": _number, "double precision": _number, "numeric": _number, "smallint": _number,
    "integer": _number, "bigint": _number, "boolean": _flag, "timestamp with time zone": _moment, "date": _day,
    "text[]": _list, "text": _text,
}  # fmt: skip
