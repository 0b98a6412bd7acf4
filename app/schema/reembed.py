"""Vectors by one model for every text that has none of it yet, or one of what it said before.

What there is to do is asked of the tables themselves, and each batch is kept as soon as it is there: killed at any
moment, the next run goes on where this one was. A model's vectors go into the tables that are of that model alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from app.schema.refused import Refused

Link = psycopg.Connection[Any]
Embed = Callable[[Sequence[str]], Sequence[Sequence[float]]]
"""A vector for each text, in their order."""

LOCK = 0x4D414942
BATCH = 32
PLACES = """
select v.relname, key.attname, t.relname,
    exists (select from pg_attribute where attrelid = v.oid and attname = 'user_id' and not attisdropped)
from pg_class v
join pg_attribute m on m.attrelid = v.oid and m.attname = 'model'
join pg_attrdef d on d.adrelid = v.oid and d.adnum = m.attnum
join pg_index i on i.indrelid = v.oid and i.indisprimary
join pg_attribute key on key.attrelid = v.oid and key.attnum = i.indkey[0]
join pg_constraint f on f.conrelid = v.oid and f.contype = 'f' and key.attnum = any (f.conkey)
join pg_class t on t.oid = f.confrelid
where v.relnamespace = 'maia'::regnamespace and pg_get_expr(d.adbin, d.adrelid) = quote_literal(%s) || '::text'
order by 1
"""
"""Tables of vectors that are of a model: name, key, the table of the texts, and whether rows are somebody's."""
WANTING = """
select t.id, t.body::text, sha256(convert_to(t.body, 'UTF8')) from maia.{texts} t
left join maia.{vectors} v on v.{key} = t.id
where t.id > %(last)s and (v.{key} is null or v.digest <> sha256(convert_to(t.body, 'UTF8')))
order by t.id limit %(batch)s
"""
KEEP = """
insert into maia.{vectors} ({key}, {owner} model, embedding, digest)
select t.id, {owner} %(model)s, %(vector)s::extensions.vector, %(digest)s from maia.{texts} t
where t.id = %(id)s and sha256(convert_to(t.body, 'UTF8')) = %(digest)s
on conflict ({key}) do update set embedding = excluded.embedding, digest = excluded.digest
"""
"""Nothing, where the text is gone or another one by now."""
FIRST = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True)
class Place:
    vectors: str
    key: str
    texts: str
    owned: bool

    def query(self, text: str) -> sql.Composed:
        return sql.SQL(text).format(
            vectors=sql.Identifier(self.vectors),
            key=sql.Identifier(self.key),
            texts=sql.Identifier(self.texts),
            owner=sql.SQL("user_id," if self.owned else ""),
        )


def run(link: Link, model: str, embed: Embed, say: Callable[[str], None], batch: int = BATCH) -> dict[str, int]:
    """Have every text embedded.

    Args:
        link: superuser's, in autocommit.

    Returns:
        How many were, by the table of the texts.

    Raises:
        Refused: no table is of this model, what came back is not of it, or somebody else is at it.
    """
    size = link.execute("select dimensions from maia.embedding_models where name = %s", [model]).fetchone()
    places = [Place(*row) for row in link.execute(PLACES, [model])]
    if not size or not places:
        known = ", ".join(name for (name,) in link.execute("select name from maia.embedding_models order by 1"))
        raise Refused(f"no table holds vectors of the model {model!r}; there are {known}")
    row = link.execute("select pg_try_advisory_lock(%s)", [LOCK]).fetchone()
    if not row or not row[0]:
        raise Refused("somebody else is embedding")
    try:
        return {place.texts: _fill(link, place, model, size[0], embed, say, batch) for place in places}
    finally:
        link.execute("select pg_advisory_unlock(%s)", [LOCK])


def _fill(link: Link, place: Place, model: str, size: int, embed: Embed, say: Callable[[str], None], batch: int) -> int:
    done = 0
    for rows in _wanting(link, place, batch):
        vectors = embed([body for _, body, _ in rows])
        if len(vectors) != len(rows) or any(len(vector) != size for vector in vectors):
            found = sorted({len(vector) for vector in vectors})
            raise Refused(f"{model} gives {size} dimensions a text; for {len(rows)} came {len(vectors)}, of {found}")
        with link.transaction(), link.cursor() as cursor:
            cursor.executemany(
                place.query(KEEP),
                [
                    {"id": key, "model": model, "vector": str(list(vector)), "digest": digest}
                    for (key, _, digest), vector in zip(rows, vectors)
                ],
            )
        done += len(rows)
        say(f"{place.texts}: {done} embedded")
    return done


def _wanting(link: Link, place: Place, batch: int) -> Iterator[list[tuple[Any, str, bytes]]]:
    last = FIRST
    while rows := link.execute(place.query(WANTING), {"last": last, "batch": batch}).fetchall():
        yield rows
        last = rows[-1][0]
