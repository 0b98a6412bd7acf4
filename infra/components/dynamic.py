"""The base of our own Pulumi resources.

Pulumi pickles a dynamic provider into the state. So providers here are importable classes without fields, that
hand over to plain functions beside them; what they need comes in as properties, and passwords of the
administrators do not come in at all: they are read, where the work is done, from files only root can read.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, ClassVar

from pulumi.dynamic import CreateResult, DiffResult, ReadResult, ResourceProvider, UpdateResult

Properties = dict[str, Any]


class Provider(ResourceProvider):
    """Create, read, update and delete, given four plain functions."""

    replaces: ClassVar[tuple[str, ...]] = ()
    """Properties whose change makes a new resource before the old one goes."""
    ignores: ClassVar[tuple[str, ...]] = ()
    """Properties that say where the work is done; their change alone is no change."""

    lingers: ClassVar[float] = 0.0
    """Seconds a deletion waits: who read an old credential just before the new one came is connected by then."""

    def identity(self, props: Properties) -> str:
        raise NotImplementedError

    def ensure(self, props: Properties) -> Properties:
        """Make it so, whatever there is already; returns properties beyond the inputs."""
        raise NotImplementedError

    def observe(self, props: Properties) -> Properties | None:
        """The properties as they are now, or None where it does not exist."""
        raise NotImplementedError

    def remove(self, props: Properties) -> None:
        raise NotImplementedError

    def away(self, props: Properties) -> bool:
        """Whether the part that holds it does not run: then nothing can be seen or removed, and nothing is lost."""
        return False

    def create(self, props: Properties) -> CreateResult:
        return CreateResult(self.identity(props), {**_own(props), **self.ensure(_own(props))})

    def update(self, _id: str, _olds: Properties, _news: Properties) -> UpdateResult:
        return UpdateResult({**_own(_news), **self.ensure(_own(_news))})

    def read(self, id_: str, props: Properties) -> ReadResult:
        found = {} if self.away(_own(props)) else self.observe(_own(props))
        return ReadResult(id_, {**_own(props), **found}) if found is not None else ReadResult("", {})

    def delete(self, _id: str, _props: Properties) -> None:
        time.sleep(self.lingers)
        if not self.away(_own(_props)):
            self.remove(_own(_props))

    def diff(self, _id: str, _olds: Properties, _news: Properties) -> DiffResult:
        # A property declared as None is an output.
        wanted = {key: value for key, value in _own(_news).items() if value is not None and key not in self.ignores}
        changed = [key for key, value in wanted.items() if _olds.get(key) != value]
        return DiffResult(
            changes=bool(changed) or self.expired(_own(_olds)),
            replaces=[key for key in changed if key in self.replaces],
            delete_before_replace=False,
        )

    def expired(self, props: Properties) -> bool:
        """Whether it must be made anew though nothing asked for a change."""
        return False


def _own(props: Mapping[str, Any]) -> Properties:
    """The properties without Pulumi's own."""
    return {key: value for key, value in props.items() if not key.startswith("__")}
