"""The rules of the schema: kept, and each of them missed when it is broken."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from app.schema import catalogue
from checks import test_postgres as checked
from tests.persons import Link
from tests.postgres import DATABASE, Server


def test_the_schema_breaks_none_of_its_rules(link: Link) -> None:
    assert list(catalogue.findings(link)) == []


BREAKING = {
    "row-security": "alter table maia.dreams no force row level security",
    "four-verbs": "drop policy own_delete on maia.dreams",
    "owners": "create role s_owner login; alter table maia.dreams owner to s_owner",
    "logins": "create role s_login login bypassrls",
    "asked-once": "create policy slow on maia.dreams for select to authenticated using (user_id = auth.uid())",
    "policy-indexes": "drop index maia.dreams_user_id_created_at_idx",
    "reference-indexes": "drop index maia.tier_features_feature_idx",
    "hung-rows": "alter table maia.dreams add column memory_id uuid references maia.memories",
    "search-paths": "create function maia.loose() returns int language sql as 'select 1'",
    "views": "create view maia.wide as select * from maia.dreams",
    "beyond-rows": "grant truncate on maia.dreams to authenticated",
    "anonymous-writes": "grant insert on maia.dreams to anon",
    "sealed": "alter table maia.session_notes add column plain maia.prose",
    "vectors": "alter table maia.dreams add column meaning extensions.vector(768)",
    "comments": "comment on table maia.dreams is null",
}


@pytest.mark.parametrize("rule", catalogue.RULES)
def test_a_rule_that_is_broken_is_named(link: Link, rule: str) -> None:
    link.execute(BREAKING[rule].encode())
    assert catalogue.broken(link, rule)


def test_the_check_of_a_running_appliance_finds_a_broken_rule(postgres: Server) -> None:
    plan: Any = SimpleNamespace(database=DATABASE, has=lambda part: False)
    with postgres.connect(DATABASE, autocommit=True) as link:
        for rule in (checked.superusers, checked.schema):
            observed, expected = rule(link, plan)
            assert observed == expected
        link.execute("alter role service_role login")
        link.execute("revoke all on maia.dreams from anon; grant insert on maia.dreams to anon")
        try:
            assert checked.superusers(link, plan)[0] == {"postgres", "service_role"}
            found, _ = checked.schema(link, plan)
            assert {line.partition(":")[0] for line in found} == {"anonymous-writes", "logins"}
        finally:
            link.execute("alter role service_role nologin; revoke all on maia.dreams from anon")
