"""Servers of a stack file: what their roles may be told, what is refused by key, and what they get."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from infra import specs
from infra.catalog.model import Zone
from infra.config import parse
from infra.errors import MaiaError
from infra.plan import Plan, hosts
from infra.site import REPO

Planned = Callable[..., Plan]

OPTIONS: dict[str, Any] = {
    "maia_host": {"type": "str"},
    "tried_level": {"type": "int", "choices": [1, 2]},
    "tried_names": {"type": "list", "elements": "str"},
    "tried_on": {"type": "bool"},
    "tried_path": {"type": "path"},
    "tried_share": {"type": "float"},
    "tried_people": {
        "type": "list",
        "elements": "dict",
        "options": {
            "name": {"type": "str", "required": True},
            "keys": {"type": "list", "elements": "str"},
            "hash": {"type": "path"},
        },
    },
    "tried_ports": {"type": "list", "elements": "int"},
}


@pytest.fixture(autouse=True)
def described(monkeypatch: pytest.MonkeyPatch) -> None:
    """A role of every kind of variable, in the place of Docker's."""
    monkeypatch.setattr(specs, "there", lambda role: role in ("docker", "tried"))
    monkeypatch.setattr(specs, "options", lambda role: OPTIONS if role == "tried" else {"docker_patience": {}})
    monkeypatch.setattr(hosts, "ORDER", ("tried", "docker"))
    monkeypatch.setattr(
        hosts, "COMPUTED", {"tried": lambda decided, name: {"tried_ports": [decided.config.gateway.https]}}
    )


PARTS = {"on": "one", "gateway": {"address": "192.0.2.10"}}


def stack(roles: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"hosts": {"one": {"address": "192.0.2.10", "roles": roles} | more}}


@pytest.mark.parametrize(
    ("given", "where", "says"),
    [
        ({"levl": 1}, ".levl", "did you mean 'level'?"),
        ({"tried_level": 1}, ".tried_level", "did you mean 'level'?"),
        ({"maia_host": "machine"}, ".maia_host", "unknown key"),
        ({"level": "1"}, ".level", "expected int, found '1'"),
        ({"level": True}, ".level", "expected int, found True"),
        ({"level": 3}, ".level", "3 is none of its choices (known: 1, 2)"),
        ({"on": "yes"}, ".on", "expected bool"),
        ({"path": 7}, ".path", "expected path"),
        ({"names": "a"}, ".names", "expected list"),
        ({"names": ["a", 2]}, ".names.1", "expected str, found 2"),
        ({"people": [{"name": "ada", "kees": []}]}, ".people.0.kees", "did you mean 'keys'?"),
        ({"people": [{"keys": []}]}, ".people.0.name", "is needed"),
        ({"people": [{"name": "ada", "keys": [1]}]}, ".people.0.keys.0", "expected str"),
        ({"ports": [22]}, ".ports", "the plan computes it (leave it out)"),
    ],
)
def test_what_a_role_does_not_know_is_refused_by_key(
    planned: Planned, given: dict[str, Any], where: str, says: str
) -> None:
    with pytest.raises(MaiaError) as refused:
        planned(stack({"tried": given}))
    assert refused.value.where == f"maia:hosts.one.roles.tried{where}"
    assert says in str(refused.value)
    assert refused.value.mend
    assert "\n" not in str(refused.value)


def test_a_needed_variable_that_nobody_gives_is_asked_for(planned: Planned, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPTIONS, "tried_disk", {"type": "path", "required": True})
    with pytest.raises(MaiaError, match=r"maia:hosts\.one\.roles\.tried\.disk: is needed"):
        planned(stack({}))


def test_an_unknown_role_and_an_unknown_server_are_refused_by_key(planned: Planned) -> None:
    with pytest.raises(MaiaError, match=r"maia:hosts\.one\.roles\.dcker: unknown role \(did you mean 'docker'\?\)"):
        planned(stack({"dcker": {}}))
    with pytest.raises(MaiaError, match=r"maia:on: no server 'oen' \(did you mean 'one'\?\)"):
        planned(stack({}) | {"on": "oen"})


def test_on_a_server_the_gateway_is_not_hidden_on_loopback(planned: Planned) -> None:
    with pytest.raises(MaiaError, match=r"^maia:gateway.address: 127.0.0.1 would be one's own loopback \(name an addr"):
        planned(stack({}) | {"on": "one"})
    assert planned(stack({}) | PARTS).on == "one"


def test_what_fits_reaches_the_role_under_its_whole_name_beside_what_the_plan_computes(planned: Planned) -> None:
    given = {"level": 2, "names": ["a"], "on": False, "share": 1, "people": [{"name": "ada"}]}
    (host,) = planned(stack({"tried": given})).hosts
    (role,) = host.roles
    assert role.variables == {f"tried_{key}": value for key, value in given.items()} | {"tried_ports": [8443]}


def test_a_secret_stands_in_the_plan_by_its_name_wherever_a_path_is_asked_for(planned: Planned) -> None:
    given = {"path": "secret:disk-one", "people": [{"name": "ada", "hash": "secret:ada-hash"}]}
    plan = planned(stack({"tried": given}))
    assert plan.hosts[0].secrets == ("ada-hash", "disk-one")
    assert {"ada-hash", "disk-one"} < set(plan.secrets)
    assert specs.replaced(given, lambda name: f"/run/{name}") == {
        "path": "/run/disk-one",
        "people": [{"name": "ada", "hash": "/run/ada-hash"}],
    }


def test_the_packet_filter_is_told_of_zones_and_ports_by_the_plan(planned: Planned) -> None:
    values = stack({}, port=2222) | PARTS | {"egress": {"prometheus": ["metrics.example:8443"]}}
    plan = planned(values)
    config = parse("local", {f"maia:{key}": value for key, value in values.items()})
    decided = hosts.Decided(config=config, networks=plan.networks, containers=plan.containers, grants=plan.grants)
    told = hosts.firewall(decided, "one")
    assert told["firewall_ssh_port"] == 2222
    assert told["firewall_published"] == [{"port": config.gateway.https}]
    assert [each["subnet"] for each in told["firewall_networks"] if each["reachable"]] == [
        plan.network(Zone.EDGE).subnet
    ]
    assert told["firewall_exits"] == [{"source": plan.container("exit").addresses[Zone.OUTSIDE], "ports": [8443]}]


def test_what_the_plan_computes_is_what_its_role_describes(monkeypatch: pytest.MonkeyPatch, planned: Planned) -> None:
    monkeypatch.undo()
    document = yaml.safe_load((REPO / "stacks" / "Pulumi.single.yaml").read_text())
    for host in planned({key.removeprefix("maia:"): value for key, value in document["config"].items()}).hosts:
        for role in host.roles:
            assert set(role.variables) <= set(specs.options(role.name)), role.name


def test_docker_comes_to_the_server_of_the_parts_and_to_those_that_ask_for_it(planned: Planned) -> None:
    def roles(values: dict[str, Any]) -> list[str]:
        return [role.name for role in planned(values).hosts[0].roles]

    assert roles(stack({})) == ["tried"]
    assert roles(stack({"docker": {}})) == ["tried", "docker"]
    assert roles(stack({}) | PARTS) == ["tried", "docker"]


def test_what_a_role_needs_made_of_the_kernel_follows_from_the_stack_file(planned: Planned) -> None:
    assert planned(stack({})).hosts[0].kind == "machine"
    assert planned(stack({}, kernel="shared")).hosts[0].kind == "container"
