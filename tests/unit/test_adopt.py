"""The maps from the application's tables to ours, held against the schema's files."""

from __future__ import annotations

import re

import pytest
import yaml

from app.migrate.adopt import binding, maps
from app.migrate.adopt.facts import Column, Facts
from app.migrate.adopt.maps import Map
from app.schema import documents, files
from tests import adoption_documents

MAPS = {each.name: each for each in maps.read()}


def test_each_name_of_the_application_has_a_map_or_a_reason_why_its_rows_stay() -> None:
    names = yaml.safe_load(documents.NAMES.read_text())
    known = {each.source.removeprefix("public.") for each in MAPS.values()}
    assert set(names) - known == set()
    assert known - set(names) == {"auth.users"}
    assert [each.name for each in MAPS.values() if bool(each.target) == bool(each.why)] == []


@pytest.mark.parametrize("name", [name for name, each in MAPS.items() if each.target])
def test_a_map_names_tables_and_columns_that_are_there(name: str) -> None:
    text = "\n".join(file.text for version in files.versions() for file in files.of(version))
    found = re.search(rf"^create table {MAPS[name].target} \((.+?)^\);", text, re.MULTILINE | re.DOTALL)
    assert found, MAPS[name].target
    columns = {*re.findall(r"^    (\w+) ", found[1], re.MULTILINE), "handed"}
    assert MAPS[name].columns.keys() - columns == set()
    for column in MAPS[name].columns.values():
        assert {column.through, column.count} - columns <= {""}


def test_no_name_is_mapped_twice() -> None:
    assert len(MAPS) == len(maps.read())


def test_what_was_written_of_clients_becomes_ciphertext_wherever_a_table_has_room_for_it() -> None:
    text = "\n".join(file.text for version in files.versions() for file in files.of(version))
    waiting = set(re.findall(r"pg_temp.handed\('(\w+)'", text))
    mapped = {each.target for each in MAPS.values() if "handed" in each.columns}
    assert mapped == waiting
    for each in MAPS.values():
        if each.target in waiting:
            given = {source for name, column in each.columns.items() if name != "handed" for source in column.sources}
            assert not given & {*each.columns["handed"].sources}, each.name


def test_a_map_that_names_what_is_unknown_is_refused() -> None:
    facts = Facts({"maia.dreams": (Column("id", "uuid", "uuid", True, "", False),), "public.dreams": ()}, {}, ())
    for wrong in (
        Map(name="a", source="public.dreams", target="nightmares", columns={}),
        Map(name="b", source="public.dreams", target="dreams", columns={"colour": maps.Column()}),
    ):
        with pytest.raises(ValueError, match=r"no table nightmares|no column colour"):
            binding.bind(wrong, facts)


def test_the_page_on_the_maps_is_of_these() -> None:
    assert adoption_documents.PAGE.read_text() == adoption_documents.page(), "python -m tests.adoption_documents"
