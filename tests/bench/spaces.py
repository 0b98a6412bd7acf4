"""What is searched: vectors that are made, in MAIA's own table, and those of real sentences, in one of their own."""

from __future__ import annotations

import hashlib
import struct
import uuid
from array import array
from collections.abc import Iterable
from typing import Any, Protocol

import psycopg

from tests.bench import cloud, sentences
from tests.bench.cloud import Cloud

Link = psycopg.Connection[tuple[Any, ...]]
SOURCE = uuid.UUID(int=1)
HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)


class Space(Protocol):
    """Vectors in a table with an HNSW index over their halves."""

    table: str
    key: str
    dimensions: int
    index: str
    """Its name; it lies in the table's schema."""

    def queries(self, count: int) -> list[str]:
        """Vectors that are in no table."""

    def prepare(self, link: Link) -> None: ...

    def fill(self, link: Link, start: int, end: int) -> None:
        """Add the vectors from one number to another."""


class Made:
    """Clusters on a surface of few dimensions, in the table that the schema has for passages."""

    table, key, index = "maia.passage_embeddings_1536", "passage_id", "maia.passage_embeddings_1536_hnsw"
    dimensions = cloud.DIMENSIONS

    def __init__(self) -> None:
        self._cloud = Cloud(1)

    def queries(self, count: int) -> list[str]:
        return [str(point.tolist()) for point in self._cloud.points(count)]

    def prepare(self, link: Link) -> None:
        link.execute(
            "insert into maia.wisdom_sources (id, title, kind, rights) values (%s, 'A', 'book', 'own')", [SOURCE]
        )

    def fill(self, link: Link, start: int, end: int) -> None:
        keys = [uuid.uuid5(SOURCE, str(number)) for number in range(start, end)]
        with (
            link.cursor() as cursor,
            cursor.copy("copy maia.wisdom_passages (id, source_id, place, body) from stdin") as copy,
        ):
            for number, key in enumerate(keys, start + 1):
                copy.write_row((key, SOURCE, number, "words"))
        digest = hashlib.sha256(b"words").digest()
        rows = ((key.bytes, digest, _vector(point)) for key, point in zip(keys, self._cloud.points(end - start)))
        _load(link, f"{self.table} (passage_id, digest, embedding)", rows)


class Real:
    """Sentences of Python's own documentation, as a packaged model sees them."""

    table, key, index = "real.sentences", "id", "real.sentences_hnsw"
    dimensions = sentences.DIMENSIONS

    def __init__(self, count: int, asked: int) -> None:
        self._vectors = sentences.vectors(count + asked)
        self._asked = asked

    def queries(self, count: int) -> list[str]:
        return [str(point.tolist()) for point in self._vectors[: min(count, self._asked)]]

    def prepare(self, link: Link) -> None:
        link.execute(
            "create schema real; create table real.sentences (id int primary key, embedding extensions.vector)"
        )
        link.execute(
            f"""alter table real.sentences alter embedding type extensions.vector({self.dimensions});
            create index sentences_hnsw on real.sentences using hnsw
              ((embedding::extensions.halfvec({self.dimensions})) extensions.halfvec_cosine_ops)""".encode()
        )

    def fill(self, link: Link, start: int, end: int) -> None:
        points = self._vectors[self._asked + start : self._asked + end]
        rows = ((struct.pack(">i", number), _vector(point)) for number, point in enumerate(points, start))
        _load(link, f"{self.table} (id, embedding)", rows)


def _load(link: Link, into: str, rows: Iterable[tuple[bytes, ...]]) -> None:
    with link.cursor() as cursor, cursor.copy(f"copy {into} from stdin (format binary)".encode()) as copy:
        copy.write(HEAD)
        for row in rows:
            copy.write(struct.pack(">h", len(row)) + b"".join(map(_field, row)))
        copy.write(struct.pack(">h", -1))


def _field(value: bytes) -> bytes:
    return struct.pack(">i", len(value)) + value


def _vector(point: array[float]) -> bytes:
    """As pgvector sends it."""
    swapped = array("f", point)
    swapped.byteswap()
    return struct.pack(">hh", len(point), 0) + swapped.tobytes()
