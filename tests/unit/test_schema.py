"""The schema's files, and the format of what is sealed."""

from __future__ import annotations

import re
import uuid
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from app.schema import documents, files, sealed, standing
from infra.components.schema import SchemaProvider

KEY, IDENTITY, PLACE = b"k" * 32, uuid.UUID(int=7), b"session_notes/content/1"


def tables() -> set[str]:
    return {table for found in files.domains().values() for table in found}


def test_each_name_of_the_application_has_a_table() -> None:
    names = yaml.safe_load(documents.NAMES.read_text())
    assert len(names) == 132
    assert set(names.values()) - tables() == set()


def test_there_are_enough_tables_and_each_is_made_once() -> None:
    made = [table for found in files.domains().values() for table in found]
    assert len(made) == len(set(made)) >= 100


def test_files_can_be_read_in_one_go() -> None:
    for version in files.versions():
        for file in files.of(version):
            assert len(file.text.splitlines()) < 400, file.name
            assert file.text.startswith("-- "), f"{file.name} says what it is about"


def test_each_version_says_which_one_it_follows() -> None:
    before = None
    for version in files.versions():
        stub = (files.HOME / "versions" / f"v{version}.py").read_text()
        assert re.search(rf'^revision = "{version}"$', stub, re.MULTILINE)
        assert f"down_revision = {before and repr(before)}".replace("'", '"') in stub
        before = version


@given(st.binary(max_size=500), st.binary(min_size=32, max_size=32), st.uuids())
def test_what_is_sealed_opens_with_its_key_and_place(content: bytes, key: bytes, identity: uuid.UUID) -> None:
    made = sealed.seal(key, identity, content, PLACE)
    assert sealed.open_(key, made, PLACE) == content
    assert sealed.key_of(made) == identity
    assert len(made) == sealed.HEADER + sealed.NONCE + len(content) + 16


@pytest.mark.parametrize("place", range(0, 60, 3))
def test_what_was_altered_does_not_open(place: int) -> None:
    made = bytearray(sealed.seal(KEY, IDENTITY, b"some words of a note", PLACE))
    made[min(place, len(made) - 1)] ^= 1
    with pytest.raises(sealed.Unreadable):
        sealed.open_(KEY, bytes(made), PLACE)


def test_it_does_not_open_elsewhere_or_with_another_key() -> None:
    made = sealed.seal(KEY, IDENTITY, b"words", PLACE)
    for key, place in ((b"j" * 32, PLACE), (KEY, b"session_notes/content/2")):
        with pytest.raises(sealed.Unreadable):
            sealed.open_(key, made, place)


def test_only_another_content_of_its_versions_is_a_change_of_the_database(tmp_path: Path) -> None:
    versions = standing.digests(standing.present())
    there = {"socket": str(tmp_path), "database": "maia", "bootstrap": "1", "versions": versions}

    def changes(**other: object) -> bool | None:
        return SchemaProvider().diff("maia", there, there | other).changes

    assert not changes(socket="/elsewhere")
    assert changes(versions=versions | {"9999": "0"})
    assert changes(versions=dict.fromkeys(versions, "0"))
    assert changes(bootstrap="2")


def test_where_the_server_is_away_the_database_is_taken_to_be_there_and_is_never_removed(tmp_path: Path) -> None:
    props = {"socket": str(tmp_path), "database": "maia", "versions": {"0001": "0"}}
    assert SchemaProvider().read("maia", props).outs == props
    SchemaProvider().delete("maia", props)
