"""The database of MAIA's data, at this release's version of its schema."""

from __future__ import annotations

import hashlib

import pulumi
from pulumi.dynamic import Resource

from app.schema import files, standing
from infra import place, schema
from infra.components.database import Inside
from infra.components.dynamic import Properties
from infra.place import Place


def _socket(props: Properties) -> str:
    return place.postgres(place.of(props), props["socket"])


class SchemaProvider(Inside):
    replaces = ("database",)
    ignores = ("socket",)

    def identity(self, props: Properties) -> str:
        return str(props["database"])

    def ensure(self, props: Properties) -> Properties:
        schema.bring(_socket(props), lambda _: None)
        return {}

    def observe(self, props: Properties) -> Properties | None:
        found = schema.applied(_socket(props))
        return None if found is None else {"versions": found}

    def remove(self, props: Properties) -> None:
        """Nothing is removed: it is the data."""


class Schema(Resource, module="maia", name="Schema"):
    """Known by the content of its versions, so that it is brought further where one came along, and only then."""

    def __init__(self, name: str, *, socket: str, database: str, at: Place, opts: pulumi.ResourceOptions) -> None:
        props = {
            "socket": socket,
            "database": database,
            "bootstrap": hashlib.sha256(files.BOOTSTRAP.read_bytes()).hexdigest(),
            "versions": standing.digests(standing.present()),
            **at.inputs,
        }
        super().__init__(SchemaProvider(), name, props, opts)
