"""Whether rows and objects belong together: the keys that rows of the cut name, beside the objects of the point.

Only the owner knows which rows name objects, so the stack file says it, by a query for each bucket.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import islice

import psycopg

from app.backup import vault
from app.backup.fence import Link
from app.backup.manifest import Found, Objects
from app.backup.places import OBJECTS, Reference

EXAMPLES = 5
"""How many keys are told by name."""
META = "xl.meta"
"""The file that an object is to the store; its folder is the key."""
FOLDER = "__XLDIR__"
"""What the store writes for a slash that a key ends with."""

Named = set[str] | str
"""Keys, or why they cannot be had."""


def named(reference: Reference, readers: Mapping[str, Link]) -> Named:
    """The keys that rows of the cut name; the reader stays usable, whatever the query does."""
    reader = readers.get(reference.database)
    if reader is None:
        return f"there is no database {reference.database!r}"
    try:
        # A savepoint around it, and a cursor, which takes nothing but a query.
        with reader.transaction(), reader.cursor(name="keys") as cursor:
            cursor.execute(reference.query.encode())
            return {str(row[0]) for row in cursor if row[0] is not None}
    except psycopg.Error as error:
        return " ".join(str(error).split())


def compare(reference: Reference, keys: Named, objects: Objects | None) -> Found:
    """What of the keys is absent from the point, and what of the point no row names."""
    found = Found(database=reference.database, bucket=reference.bucket)
    if isinstance(keys, str):
        return replace(found, error=keys)
    if objects is None:
        return replace(found, error="the point holds no objects")
    left, unnamed = set(keys), 0
    examples: list[str] = []
    for key in _keys(vault.files(objects.snapshot, OBJECTS / reference.bucket), f"{OBJECTS / reference.bucket}/"):
        if key in keys:
            left.discard(key)
        else:
            unnamed += 1
            if len(examples) < EXAMPLES:
                examples.append(key)
    return replace(
        found,
        named=len(keys),
        absent=len(left),
        absent_keys=list(islice(sorted(left), EXAMPLES)),
        unnamed=unnamed,
        unnamed_keys=examples,
    )


def _keys(paths: Iterable[str], bucket: str) -> Iterable[str]:
    for path in paths:
        folder, _, file = path.removeprefix(bucket).rpartition("/")
        if file == META:
            yield folder.removesuffix(FOLDER) + "/" if folder.endswith(FOLDER) else folder


def wrong(found: Iterable[Found]) -> str:
    """What is amiss, in one line; empty where every object that a row names is there."""
    told = []
    for each in found:
        if each.error:
            told.append(f"{each.bucket}, named by {each.database}: {each.error}")
        elif each.absent:
            told.append(f"{each.bucket} lacks {each.absent} that {each.database} names, as {each.absent_keys[0]!r}")
    return "; ".join(told)
