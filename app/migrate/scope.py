"""What belongs to the owner and comes over, and what is the platform's and stays."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

PLATFORM = {
    "cron": "jobs are the platform's scheduler's; each is named in the plan, to be made anew",
    "dbdev": "of the platform",
    "extensions": "holds what extensions bring; the appliance makes its own",
    "graphql": "of pg_graphql, which the appliance does not have",
    "graphql_public": "of pg_graphql, which the appliance does not have",
    "net": "of pg_net: calls from the database to the network, which the appliance does not allow",
    "pgbouncer": "of the platform's pooler",
    "pgmq": "queues of pgmq, which the appliance does not have",
    "pgsodium": "of pgsodium; its keys are the platform's",
    "pgsodium_masks": "of pgsodium; its keys are the platform's",
    "pgtle": "of the platform",
    "realtime": "messages in flight of the platform's realtime service; nothing in it lasts",
    "_realtime": "of the platform's realtime service",
    "_analytics": "of the platform's log service",
    "repack": "of pg_repack",
    "supabase_functions": "hooks that call out of the machine",
    "supabase_migrations": "a list of the platform's tool; the schema comes over as it is",
    "tiger": "of PostGIS, which the appliance does not have",
    "tiger_data": "of PostGIS, which the appliance does not have",
    "topology": "of PostGIS, which the appliance does not have",
    "vault": "sealed with a key that the platform keeps; set each secret anew with maia secrets",
}
"""Schema to the reason that nothing in it comes over."""
OURS = ("maia", "maia_meta", "maia_migrate")
"""Schemas of the appliance's own in the target."""
SECRET_SETTINGS = ("secret", "password", "token", "key", "jwt")
"""A setting of the database whose name has one of these stays: it opens something at the source."""
OWNER = "maia_project"
"""Owns what comes over; nobody logs in as it."""


@dataclass(frozen=True)
class Selection:
    """What was asked for; all of it where nothing is named."""

    schemas: frozenset[str] = frozenset()
    tables: frozenset[str] = frozenset()
    """``schema.table``"""

    @classmethod
    def of(cls, schemas: Collection[str] = (), tables: Collection[str] = ()) -> Selection:
        return cls(frozenset(schemas), frozenset(tables))

    @property
    def whole(self) -> bool:
        return not self.schemas and not self.tables

    def schema(self, name: str) -> bool:
        """Whether anything of this schema is asked for."""
        return self.whole or name in self.schemas or any(each.partition(".")[0] == name for each in self.tables)

    def takes(self, schema: str, name: str) -> bool:
        """Whether a table is asked for."""
        return self.whole or schema in self.schemas or f"{schema}.{name}" in self.tables


def stays(schema: str) -> str:
    """Why nothing of a schema comes over; empty where it does."""
    if schema in OURS:
        return "a schema of this name is the appliance's own"
    return PLATFORM.get(schema, "")
