"""The database of MAIA's data, at this release's version of its schema."""

from __future__ import annotations

import hashlib

import pulumi
from pulumi.dynamic import Resource

from app.schema import files, parts, standing
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
        schema.bring(_socket(props), lambda _: None, props.get("parts", {}))
        return {}

    def observe(self, props: Properties) -> Properties | None:
        found = schema.applied(_socket(props))
        if found is None:
            return None
        made = schema.applied_parts(_socket(props))
        return {"versions": found, "parts": {part: made.get(part, "") for part in props.get("parts", {})}}

    def remove(self, props: Properties) -> None:
        """Nothing is removed: it is the data."""


class Schema(Resource, module="maia", name="Schema"):
    """Known by the content of its versions, so that it is brought further where one came along, and only then.

    The tables of a part that is gone stay, as they are.
    """

    def __init__(
        self,
        name: str,
        *,
        socket: str,
        database: str,
        of: tuple[str, ...],
        at: Place,
        opts: pulumi.ResourceOptions,
    ) -> None:
        props = {
            "socket": socket,
            "database": database,
            "bootstrap": hashlib.sha256(files.BOOTSTRAP.read_bytes()).hexdigest(),
            "versions": standing.digests(standing.present()),
            **({"parts": parts.present(of)} if of else {}),
            **at.inputs,
        }
        super().__init__(SchemaProvider(), name, props, opts)
