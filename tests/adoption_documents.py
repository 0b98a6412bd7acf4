"""Write the page on the maps anew: ``python -m tests.adoption_documents``."""

from __future__ import annotations

from collections.abc import Iterator

from app.migrate.adopt import maps
from app.migrate.adopt.maps import Column, Map
from infra.site import REPO

PAGE = REPO / "docs" / "adoption.md"
HEAD = """<!-- Written by tests/adoption_documents.py from app/migrate/adopt/maps. -->
# Maps

Which table of the application becomes which of ours ([migration](migration.md#adopt)). A column that is not named comes
from the one of its name, or from one of the usual names below. Of several, the first that a table has is taken.

"""


def page() -> str:
    return "".join([HEAD, *_maps(), *_usual(), *_stays()])


def _maps() -> Iterator[str]:
    yield "| of `public` | becomes | columns |\n|---|---|---|\n"
    for each in sorted((each for each in maps.read() if each.target), key=lambda each: each.name):
        told = [_column(name, column) for name, column in each.columns.items() if _said(column)]
        yield f"| {_source(each)} | `{each.target}` | {', '.join(told)} |\n"


def _usual() -> Iterator[str]:
    yield "\n## Usual names\n\n| ours | theirs |\n|---|---|\n"
    for name, column in maps.common().items():
        yield f"| `{name}` | {_names(column.sources)} |\n"


def _stays() -> Iterator[str]:
    yield "\n## What stays\n\n| of `public` | why |\n|---|---|\n"
    for each in sorted((each for each in maps.read() if each.why), key=lambda each: each.name):
        yield f"| {_source(each)} | {each.why} |\n"


def _source(each: Map) -> str:
    name = each.source.removeprefix("public.")
    return f"`{name}`" if each.name == name else f"`{name}` ({each.name.removeprefix(name).strip()})"


def _said(column: Column) -> bool:
    return bool(column.sources or column.through or column.count or column.rest or column.otherwise is not None)


def _column(name: str, column: Column) -> str:
    if column.through:
        return f"`{name}` of the row in `{column.through}`"
    if column.count:
        return f"`{name}` counted within `{column.count}`"
    if column.rest:
        return f"`{name}`: all the rest"
    if not column.sources:
        return f"`{name}`: {column.otherwise}"
    return f"`{name}` from {_names((*column.sources, *column.until))}"


def _names(names: tuple[str, ...]) -> str:
    return " ".join(f"`{name}`" for name in names)


if __name__ == "__main__":
    PAGE.write_text(page())
