"""The stack file is refused unless every key is known and every value fits, and the error says where."""

from __future__ import annotations

import json
from typing import Any

import pytest

from infra import config
from infra.errors import MaiaError
from infra.site import REPO


@pytest.mark.parametrize(
    ("values", "where", "says"),
    [
        ({"gatway": {}}, "maia:gatway", "did you mean 'gateway'?"),
        ({"gateway": {"htps": 1}}, "maia:gateway.htps", "did you mean 'https'?"),
        ({"parts": {"redis": {"memry": 300}}}, "maia:parts.redis.memry", "did you mean 'memory'?"),
        ({"apps": {"web": {"image": "x@sha256:" + "a" * 64, "prt": 1}}}, "maia:apps.web.prt", "did you mean 'port'?"),
        ({"gateway": {"https": "8443"}}, "maia:gateway.https", "found '8443'"),
        ({"gateway": {"https": 70000}}, "maia:gateway.https", "found 70000"),
        ({"running": "no"}, "maia:running", "found 'no'"),
        ({"subnet": "10.1.0.0/16"}, "maia:subnet", "found '10.1.0.0/16'"),
        ({"subnet": "8.8.0.0/20"}, "maia:subnet", "expected a private /20"),
        ({"egress": {"status": ["example.org"]}}, "maia:egress.status.0", "expected host:port"),
        ({"apps": {"web": {"port": 3000}}}, "maia:apps.web", "give image or archive"),
        ({"apps": {"web": {"image": "web:latest"}}}, "maia:apps.web.image", "found 'web:latest'"),
        ({"apps": {"web": {"archive": "/w.tar", "user": "0:0"}}}, "maia:apps.web.user", "found '0:0'"),
        (
            {"apps": {"web": {"archive": "/w.tar", "wire": {"REDIS_URL": "redis-url"}}}},
            "maia:apps.web",
            "wire.REDIS_URL asks for redis-url",
        ),
        ({"apps": {"web": {"archive": "w.tar"}}}, "maia:apps.web.archive", "found 'w.tar'"),
        (
            {"apps": {"web": {"archive": "/w.tar", "needs": {"extensions": ["vector"]}}}},
            "maia:apps.web",
            "needs.extensions asks for extensions of a database",
        ),
        ({"version": 99}, "maia:version", "version 99"),
    ],
)
def test_what_is_wrong_is_refused_by_key_value_and_mend(values: dict[str, Any], where: str, says: str) -> None:
    with pytest.raises(MaiaError) as refused:
        config.parse("local", {f"maia:{key}": value for key, value in values.items()})
    assert refused.value.where == where
    assert says in str(refused.value)
    assert refused.value.mend
    assert "\n" not in str(refused.value)


def test_an_empty_stack_file_is_a_whole_stack_that_only_this_machine_can_reach() -> None:
    parsed = config.parse("local", {})
    assert parsed.running
    assert parsed.gateway.address.is_loopback
    assert parsed.gateway.http is None
    assert parsed.egress == {}


def test_values_that_the_engine_wrote_back_as_text_mean_the_same() -> None:
    assert config.parse("local", {"maia:version": "1", "maia:running": "false"}) == config.parse(
        "local", {"maia:version": 1, "maia:running": False}
    )


def test_keys_of_other_namespaces_are_left_alone() -> None:
    assert config.parse("local", {"secrets:operator": {"secure": "v1:x"}, "maia:version": 1}) == config.parse(
        "local", {}
    )


@pytest.mark.parametrize("name", ["", "Local", "a" * 17, "../x", "9lives", "lab"])
def test_a_stack_name_that_no_container_can_have_or_test_hosts_have_is_refused(name: str) -> None:
    with pytest.raises(MaiaError, match="stack name"):
        config.parse(name, {})


def test_the_schema_for_editors_is_the_one_that_is_enforced() -> None:
    assert json.loads((REPO / "stacks" / "schema.json").read_text()) == config.schema(), "./maia plan --schema"
