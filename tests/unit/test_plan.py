"""The plan decides everything: what is in it follows from the catalog and the stack file, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from ipaddress import ip_address, ip_network

import pytest
import yaml

from infra import catalog
from infra.catalog.model import Zone
from infra.config import parse
from infra.errors import MaiaError
from infra.plan import ImageRef, Machine, Plan, build
from infra.site import REPO

Planned = Callable[..., Plan]

APP = {
    "image": "sha256:" + "a" * 64,
    "needs": {"database": True, "bucket": True, "redis": True, "extensions": ["vector"]},
    "wire": {"DATABASE_URL": "database-url"},
    "migrate": ["node", "migrate.js"],
}


def test_the_default_stack_is_what_it_was(planned: Planned, golden: Callable[[str, str], None]) -> None:
    golden("plan-default.json", planned().json() + "\n")


def test_a_stack_with_everything_on_is_what_it_was(planned: Planned, golden: Callable[[str, str], None]) -> None:
    plan = planned(
        {
            "gateway": {"names": ["maia.example"], "address": "0.0.0.0", "https": 443, "http": 8080},
            "apps": {"web": APP},
            "egress": {"web": ["smtp.example:587"]},
            "parts": {"postgres": {"memory": 2048}, "alertmanager": {"cpus": 0.5}},
        }
    )
    golden("plan-full.json", plan.json() + "\n")


@pytest.mark.parametrize("stack", ["single", "gpu"])
def test_a_stack_on_servers_is_what_it_was(planned: Planned, golden: Callable[[str, str], None], stack: str) -> None:
    document = yaml.safe_load((REPO / "stacks" / f"Pulumi.{stack}.yaml").read_text())
    values = {key.removeprefix("maia:"): value for key, value in document["config"].items()}
    golden(f"plan-{stack}.json", planned(values, stack=stack).json() + "\n")


def test_planning_twice_gives_the_same_hash_and_any_change_another(planned: Planned) -> None:
    assert planned().hash == planned().hash
    assert planned().hash != planned({"gateway": {"https": 9443}}).hash


def test_only_the_gateway_is_published_and_only_on_loopback_by_default(planned: Planned) -> None:
    published = {c.part: c.published for c in planned().containers if c.published}
    assert set(published) == {"gateway"}
    assert all(ip_address(port.address).is_loopback for port in published["gateway"])


def test_the_plain_listener_stays_on_loopback_wherever_the_gateway_listens(planned: Planned) -> None:
    plan = planned({"gateway": {"address": "0.0.0.0", "http": 8080}})
    assert [p.address for p in plan.container("gateway").published if p.target == 8080] == ["127.0.0.1"]


def test_nothing_has_a_way_out_until_a_person_opens_one(planned: Planned) -> None:
    plan = planned()
    assert [network.zone for network in plan.networks if network.masquerade] == [Zone.OUTSIDE]
    assert not [c.part for c in plan.containers if Zone.OUTSIDE in c.addresses]


def test_a_grant_gives_the_part_the_proxy_and_the_proxy_a_way_out(planned: Planned) -> None:
    plan = planned({"egress": {"prometheus": ["metrics.example:443"]}})
    assert [str(grant.endpoint) for grant in plan.grants] == ["metrics.example:443"]
    assert plan.grants[0].address == plan.container("prometheus").addresses["exit"]
    assert plan.container("prometheus").env["HTTPS_PROXY"] == "http://exit:3128"
    assert {c.part for c in plan.containers if Zone.OUTSIDE in c.addresses} == {"exit"}


def test_only_the_s3_route_shares_a_zone_with_the_object_store(planned: Planned) -> None:
    plan = planned({"apps": {"web": APP}})
    assert {c.part for c in plan.containers if Zone.STORE in c.addresses} == {"minio", "s3"}
    assert set(plan.container("minio").addresses) == {"store"}


def test_who_reads_anothers_volume_is_made_when_that_holds_something(planned: Planned) -> None:
    """Docker gives an empty one to whoever owns its path in the image of the part that is made last."""
    visits = [
        (container, mount.part)
        for container in planned().containers
        for mount in container.mounts
        if mount.part != container.part
    ]
    assert {part for _, part in visits} == {"postgres", "minio"}
    assert [container.part for container, part in visits if part not in container.after] == []
    alone = planned({"parts": {name: {"enabled": False} for name in ("minio", "s3")}})
    assert alone.container("backup").after == ("postgres",)


def test_no_two_containers_share_an_address_and_each_is_inside_its_zone(planned: Planned) -> None:
    plan = planned({"apps": {"web": APP, "wiki": APP | {"route": {"path": "/wiki/"}, "migrate": []}}})
    every = [(zone, address) for c in plan.containers for zone, address in c.addresses.items()]
    assert len(every) == len(set(every))
    for zone, address in every:
        assert ip_address(address) in ip_network(plan.network(Zone(zone)).subnet)


def test_a_migration_has_an_address_of_its_own_in_each_zone_of_its_app(planned: Planned) -> None:
    plan = planned({"apps": {"web": APP, "wiki": APP | {"route": {"path": "/wiki/"}, "migrate": []}}})
    web = plan.container("web")
    assert web.migrate_addresses.keys() == web.addresses.keys()
    taken = {address for c in plan.containers for address in c.addresses.values()}
    assert not taken & set(web.migrate_addresses.values())
    assert plan.container("wiki").migrate_addresses == {}


def test_a_new_version_is_tried_at_an_address_of_its_own_unless_the_stack_file_says_not_to(planned: Planned) -> None:
    plan = planned({"apps": {"web": APP, "wiki": APP | {"route": {"path": "/wiki/"}, "trial": False}}})
    web = plan.container("web")
    assert web.candidate_addresses.keys() == web.addresses.keys()
    taken = {address for c in plan.containers for address in (*c.addresses.values(), *c.migrate_addresses.values())}
    assert not taken & set(web.candidate_addresses.values())
    assert plan.container("wiki").candidate_addresses == {}
    assert not [c.part for c in plan.containers if c.candidate_addresses and c.part != "web"]


def test_a_trial_moves_nothing_else(planned: Planned) -> None:
    apps = {f"app-{number}": APP | {"route": None} for number in range(60)}
    quiet = {name: app | {"trial": False} for name, app in apps.items()}
    machine = Machine(memory=240_000, cpus=2)
    with_, without = planned({"apps": apps}, machine=machine), planned({"apps": quiet}, machine=machine)
    assert [c.addresses for c in with_.containers] == [c.addresses for c in without.containers]
    assert [c.migrate_addresses for c in with_.containers] == [c.migrate_addresses for c in without.containers]


def test_an_app_is_probed_on_its_health_path(planned: Planned) -> None:
    plan = planned({"apps": {"web": APP | {"health": "/healthz", "port": 8000}}})
    (probe,) = (target.probe for target in plan.probes if target.part == "web")
    assert probe.target == f"http://{plan.container('web').addresses['apps']}:8000/healthz"


def test_adding_an_app_moves_no_other_part(planned: Planned) -> None:
    before, after = planned(), planned({"apps": {"web": APP}})
    assert {c.part: c.addresses for c in before.containers}.items() <= {
        c.part: c.addresses for c in after.containers
    }.items()


def test_an_app_gets_a_role_a_bucket_and_a_redis_user_of_its_own(planned: Planned) -> None:
    plan = planned({"apps": {"my-web": APP}})
    assert [(r.role, r.database.name, r.database.extensions) for r in plan.roles if r.part == "my-web"] == [
        ("my_web", "my_web", ("vector",))
    ]
    assert [u.buckets[0].name for u in plan.store_users if u.part == "my-web"] == ["my-web-files"]
    assert [u.rules.keys for u in plan.redis_users if u.part == "my-web"] == [("my-web:*",)]
    assert set(plan.container("my-web").after) == {"postgres", "redis", "s3"}
    assert {"my-web-postgres", "my-web-redis", "my-web-s3"} <= set(plan.secrets)


def test_a_credential_in_a_variable_is_a_deviation_that_is_named(planned: Planned) -> None:
    container = planned({"apps": {"web": APP}}).container("web")
    assert [(d.field, d.value) for d in container.deviations] == [("env", "DATABASE_URL")]
    assert not [value for value in container.env.values() if "postgresql://" in value]


def test_grafana_is_absent_with_the_reason_where_no_image_is_to_be_had(planned: Planned) -> None:
    assert [(a.part, "official image" in a.reason) for a in planned().absent] == [("grafana", True)]


def test_grafana_is_there_once_the_stack_file_says_where_its_image_comes_from(
    made: Callable[..., dict[str, ImageRef]],
) -> None:
    image = ImageRef(id="sha256:" + "b" * 64, user="472:472")
    config = parse("local", {"maia:parts": {"grafana": {"image": image.id}}})
    plan = build("local", config, Machine(memory=24000, cpus=2), made() | {"grafana": image})
    assert plan.container("grafana").image_id == image.id
    assert "grafana-admin" in plan.secrets
    assert not plan.absent


def test_a_disabled_part_is_absent_and_leaves_no_trace(planned: Planned) -> None:
    plan = planned({"parts": {"redis-exporter": {"enabled": False}}})
    assert "redis-exporter" in {absent.part for absent in plan.absent}
    assert "redis-exporter" not in {t.part for t in plan.targets} | {u.part for u in plan.redis_users}
    assert "redis-exporter-redis" not in plan.secrets


def test_the_database_of_maias_data_is_there_unless_it_is_disabled_or_there_is_no_postgres(planned: Planned) -> None:
    without = {name: {"enabled": False} for name in ("postgres", "postgres-exporter", "backup")}
    assert planned().database == "maia"
    assert planned({"database": {"enabled": False}}).database == ""
    assert planned({"parts": without}).database == ""


def test_the_parts_that_the_owner_disabled_are_told_in_one_line(planned: Planned) -> None:
    quiet = {name: {"enabled": False} for name in ("exit", "alertmanager", "node-exporter")}
    told = planned({"parts": quiet}).absences()
    assert [part for part, _ in told] == ["grafana", "exit, alertmanager, node-exporter"]
    assert told[-1][1] == "disabled in the stack file"


@pytest.mark.parametrize(
    ("values", "where", "says"),
    [
        ({"parts": {"postgre": {}}}, "maia:parts.postgre", "did you mean 'postgres'?"),
        ({"parts": {"redis": {"enabled": False}}}, "maia:parts.redis.enabled", "redis-exporter"),
        ({"parts": {"redis": {"image": "sha256:" + "c" * 64}}}, "maia:parts.redis", "made here"),
        ({"egress": {"nobody": ["a.example:1"]}}, "maia:egress.nobody", "unknown part"),
        ({"apps": {"redis": APP}}, "maia:apps.redis", "belongs to the appliance"),
        ({"apps": {"admin": APP}}, "maia:apps.admin", "belongs to the appliance"),
        ({"apps": {"service-role": APP}}, "maia:apps.service-role", "belongs to the appliance"),
        ({"apps": {"pg-web": APP}}, "maia:apps.pg-web", "belongs to the appliance"),
        ({"apps": {"web": APP, "web-migrate": APP}}, "maia:apps.web-migrate", "the migration of web"),
        ({"apps": {"web": APP, "web-candidate": APP}}, "maia:apps.web-candidate", "the candidate of web"),
        ({"apps": {"web": APP | {"route": {"path": "/status/"}}}}, "maia:apps.web.route", "already leads to status"),
        ({"apps": {"web": APP | {"route": {"host": "x.example"}}}}, "maia:apps.web.route.host", "x.example"),
        ({"gateway": {"http": 8443}}, "maia:gateway.http", "8443"),
        ({"parts": {"postgres": {"memory": 64000}}}, "maia:parts.postgres.memory", "24000 MiB"),
    ],
)
def test_what_cannot_be_carried_out_is_refused_by_key(
    planned: Planned, values: dict[str, object], where: str, says: str
) -> None:
    with pytest.raises(MaiaError) as refused:
        planned(values)
    assert refused.value.where == where
    assert says in str(refused.value)


def test_limits_follow_the_machine_and_fit_a_small_one(planned: Planned) -> None:
    small = planned(machine=Machine(memory=4096, cpus=1))
    large = planned(machine=Machine(memory=256_000, cpus=64))
    assert small.container("postgres").memory < large.container("postgres").memory
    assert sum(c.memory for c in small.containers) <= 4096
    assert max(c.cpus for c in small.containers) <= 1


def test_every_part_states_what_the_baseline_asks_for() -> None:
    for service in catalog.SERVICES:
        assert service.title and service.zones and service.health.command, service.name
        assert service.limits.memory and service.limits.cpus and service.limits.pids, service.name
        assert not service.root or {d.field for d in service.deviations} >= {"user"}, service.name
        assert not service.capabilities or {d.field for d in service.deviations} >= {"capabilities"}, service.name


def test_every_part_that_listens_is_watched() -> None:
    for service in catalog.SERVICES:
        assert not service.scrape or Zone.OPS in service.zones, service.name
        for scrape in service.scrape:
            assert scrape.port in service.ports, service.name


def test_the_plan_is_data_and_holds_no_secret(planned: Planned) -> None:
    plan = planned({"apps": {"web": APP}})
    assert set(plan.data()) == {field.name for field in fields(Plan)}
    assert all(isinstance(name, str) for name in plan.secrets)
