"""What the rendered files of the data plane promise."""

from __future__ import annotations

import ipaddress
import json
import re
import subprocess
from pathlib import Path

import bcrypt
import pytest

from infra import catalog, config, credentials, plan, render
from infra.catalog.model import File, Zone

IMAGE = "sha256:" + "1" * 64
STACK = {
    "maia:gateway": {"names": ["maia.test", "shop.test"], "https": 9443, "http": 9080},
    "maia:apps": {
        "shop": {
            "image": IMAGE,
            "route": {"host": "shop.test", "path": "/"},
            "needs": {"database": True, "bucket": True, "redis": True},
        },
        "forum": {"image": IMAGE, "port": 8080, "route": {"path": "/forum/"}, "trial": False},
    },
    "maia:egress": {"shop": ["pay.example:443", "old.example:80", "10.1.2.3:5432"]},
}
REPLICATION_HEADERS = {
    "X-Minio-Replication-Actual-Object-Size",
    "X-Minio-Replication-Delete-Status",
    "X-Minio-Replication-DeleteMarker-Status",
    "X-Minio-Replication-Encrypted-Multipart",
    "X-Minio-Replication-Ready",
    "X-Minio-Replication-Reset-Status",
    "X-Minio-Replication-Server-Side-Encryption-Iv",
    "X-Minio-Replication-Server-Side-Encryption-Seal-Algorithm",
    "X-Minio-Replication-Server-Side-Encryption-Sealed-Key",
    "X-Minio-Replication-Ssec-Crc",
}


def planned(values: dict[str, object], memory: int = 24000, cpus: int = 4) -> plan.Plan:
    images = {service.image: plan.ImageRef(id=IMAGE, user="700:700") for service in catalog.SERVICES}
    images |= {f"app:{name}": plan.ImageRef(id=IMAGE, user="1000:1000") for name in ("shop", "forum")}
    return plan.build("unit", config.parse("unit", values), plan.Machine(memory=memory, cpus=cpus), images)


FULL, PLAIN = planned(STACK), planned({})
SECRETS = {name: credentials.generate() for name in FULL.secrets}
FILES = [
    pytest.param(which, container.part, file, id=f"{label}-{container.part}-{file.path}")
    for label, which in (("full", FULL), ("default", PLAIN))
    for container in which.containers
    for file in container.files
]


def text(where: plan.Plan, part: str, path: str) -> str:
    container = where.container(part)
    file = next(file for file in container.files if file.path == path)
    return render.render(file, where, container, SECRETS)


def settings(conf: str) -> dict[str, str]:
    return dict(re.findall(r"^(\S+) = '?([^'\t#\n]*)'?", conf, re.MULTILINE))


def megabytes(value: str) -> int:
    return int(value.removesuffix("MB"))


@pytest.mark.parametrize(("where", "part", "file"), FILES)
def test_every_file_of_every_part_renders_and_only_secret_files_hold_secrets(
    where: plan.Plan, part: str, file: File
) -> None:
    rendered = render.render(file, where, where.container(part), SECRETS)
    assert rendered.strip()
    if not file.secret:
        assert not [name for name, value in SECRETS.items() if value in rendered]


@pytest.mark.parametrize("memory", [4000, 24000, 512000])
def test_postgres_settings_fit_the_memory_it_is_given(memory: int) -> None:
    where = planned({}, memory=memory)
    part = where.container("postgres")
    found = settings(text(where, "postgres", "/etc/maia/postgresql.conf"))
    sorting = megabytes(found["work_mem"]) * int(found["max_connections"])
    assert megabytes(found["shared_buffers"]) == part.memory // 4
    assert megabytes(found["shared_buffers"]) + sorting + megabytes(found["maintenance_work_mem"]) <= part.memory
    # A parallel hash join: twice work_mem for the leader and each worker.
    workers = int(found["max_parallel_workers_per_gather"])
    assert 2 * megabytes(found["work_mem"]) * (1 + workers) <= part.shared_memory


def test_postgres_lets_nobody_in_unencrypted_or_without_proof() -> None:
    hba = text(FULL, "postgres", "/etc/maia/pg_hba.conf")
    lines = [line.split() for line in hba.splitlines() if line and not line.startswith("#")]
    assert {line[0] for line in lines} == {"local", "hostssl"}
    assert {line[4] for line in lines if line[0] == "hostssl"} == {"reject", "scram-sha-256"}
    assert [line[3] for line in lines if line[-1] == "scram-sha-256"] == [FULL.network(Zone.DATA).subnet]
    assert "trust" not in hba


def test_postgres_logs_no_statement_that_could_hold_a_password() -> None:
    found = settings(text(FULL, "postgres", "/etc/maia/postgresql.conf"))
    assert found["log_statement"] == "none"
    assert found["log_min_error_statement"] == "panic"
    assert found["log_min_duration_statement"] == "-1"
    assert found["pg_stat_statements.track_utility"] == "off"


def test_redis_keeps_only_hashes_and_the_default_user_is_off() -> None:
    fixed = text(FULL, "redis", "/run/secrets/fixed.acl")
    assert fixed.startswith("user default off ")
    assert not [value for value in SECRETS.values() if value in fixed]
    assert re.findall(r"^user (\S+) on #[0-9a-f]{64} ", fixed, re.MULTILINE) == ["admin", "backup", "health"]


def test_redis_start_puts_fixed_users_back_and_keeps_the_others(tmp_path: Path) -> None:
    script = text(FULL, "redis", "/etc/maia/start.sh")
    for path, name in {"/data": "data", "/run/secrets": "secrets"}.items():
        (tmp_path / name).mkdir()
        script = script.replace(path, str(tmp_path / name))
    assert "exec redis-server" in script
    script = script.replace("exec redis-server", "exec true")
    users = tmp_path / "data/users.acl"
    (tmp_path / "secrets/fixed.acl").write_text("user default off\nuser admin on #new\n")
    for before in (
        None,
        "",
        "user admin on #old\nuser default on nopass\nuser shop on #shop\nuser administrator on #x\n",
    ):
        if before is not None:
            users.write_text(before)
        subprocess.run(["sh", "-c", script], check=True, timeout=10)
    assert users.read_text().splitlines() == [
        "user default off",
        "user admin on #new",
        "user shop on #shop",
        "user administrator on #x",
    ]
    assert users.stat().st_mode & 0o777 == 0o600


def test_redis_leaves_room_beside_its_data() -> None:
    limit = re.search(r"^maxmemory (\d+)mb$", text(FULL, "redis", "/etc/maia/redis.conf"), re.MULTILINE)
    assert limit
    assert int(limit[1]) == FULL.container("redis").memory * 3 // 4


def test_minio_root_carries_a_tag_of_its_secret() -> None:
    secret = SECRETS["minio-root"]
    lines = text(FULL, "minio", "/run/secrets/minio.env").splitlines()
    assert lines == [
        f"MINIO_ROOT_USER={credentials.tagged('root', secret, '-')}",
        f"MINIO_ROOT_PASSWORD={secret}",
    ]


def test_the_s3_route_strips_every_replication_header() -> None:
    stripped = set(re.findall(r'proxy_set_header (X-\S+) "";', text(FULL, "s3", "/etc/maia/nginx.conf")))
    assert {name for name in stripped if name.startswith("X-Minio-Replication-")} == REPLICATION_HEADERS
    assert {"X-Minio-Source-Replication-Request", "X-Minio-From-Peer", "X-Minio-Force-Delete"} <= stripped


def refusals(variable: str) -> list[tuple[re.Pattern[str], bool]]:
    """The regular expressions of one map of the S3 route, in order, and whether each refuses."""
    block = re.search(rf"map [^{{]* \${variable} {{(.*?)\n  }}", text(FULL, "s3", "/etc/maia/nginx.conf"), re.DOTALL)
    assert block
    return [
        (re.compile(pattern, re.IGNORECASE if star else 0), verdict == "1")
        for star, pattern, verdict in re.findall(r'"~(\*?)(.*)" ([01]);', block[1])
    ]


def refused(variable: str, subject: str) -> bool:
    return next((verdict for pattern, verdict in refusals(variable) if pattern.search(subject)), False)


@pytest.mark.parametrize(
    "uri",
    [
        "/bucket/key?X-Minio-Replication-Ssec-Crc=a",
        "/bucket/key?uploads&x-minio-source-etag=a",
        "/bucket/key?X%2DMinio-Replication-Ssec-Crc=a",
        "/bucket/key?a=%41&X-Mini%6f-Replication-Ssec-Crc=a",
        "/bucket/key?a#&X-Minio-Replication-Ssec-Crc=a",
        "/bucket/key?a=1#&X-Mini%6f-Replication-Ssec-Crc=a",
        "/bucket/../minio/admin/v3/info",
        "/minio/metrics/v3/../../../key",
        "/bucket/%2e%2E/minio/admin",
        "/bucket%2f..%2fminio/admin",
        "/bucket/./key",
        "/bucket/..",
    ],
)
def test_the_s3_route_refuses_what_hides_a_parameter_or_a_path(uri: str) -> None:
    assert refused("refused_uri", uri)


@pytest.mark.parametrize(
    "uri",
    [
        "/",
        "/bucket/?list-type=2&prefix=a%2Fb&delimiter=%2F&encoding-type=url",
        "/bucket/a..b/..c/d...txt",
        "/bucket/.hidden/%C3%A4%20b",
        "/bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a%2F2&X-Amz-SignedHeaders=host",
        "/bucket/key?response-content-disposition=attachment%3B%20filename%3D%22x-minio-a%22",
        "/bucket/x-minio-key?versionId=1",
    ],
)
def test_the_s3_route_lets_ordinary_requests_through(uri: str) -> None:
    assert not refused("refused_uri", uri)


@pytest.mark.parametrize(
    ("request_line", "expected"),
    [
        ("POST /bucket/key?uploads", False),
        ("POST /bucket/key?uploadId=abc", False),
        ("POST /bucket/?delete=", False),
        ("PUT /bucket/key", False),
        ("POST /", True),
        ("POST /bucket", True),
        ("POST /?Action=AssumeRoleWithWebIdentity&delete", True),
        ("POST /bucket/?deleted", True),
    ],
)
def test_the_s3_route_allows_no_post_but_those_of_s3(request_line: str, expected: bool) -> None:
    assert refused("refused_post", request_line) is expected


def servers(where: plan.Plan) -> dict[str, str]:
    """The gateway's server blocks by their first name."""
    conf = text(where, "gateway", "/etc/maia/nginx.conf")
    blocks = re.findall(r"^  server \{\n(.*?)^  \}", conf, re.DOTALL | re.MULTILINE)
    return {name[1].split()[0]: block for block in blocks if (name := re.search(r"server_name (.+);", block))}


def upstreams(where: plan.Plan) -> dict[str, list[str]]:
    """Name to servers, with what is said of each."""
    conf = text(where, "gateway", "/etc/maia/nginx.conf")
    blocks = re.findall(r"upstream (\S+) \{\n(.*?)^  \}", conf, re.DOTALL | re.MULTILINE)
    return {name: re.findall(r"server (.+);", body) for name, body in blocks}


def locations(block: str) -> dict[str, str]:
    """Location to body, the gateway's own ones left out."""
    found = re.findall(r"^    location (?:\^~ |~ \^)?(\S+) \{\n(.*?)^    \}", block, re.DOTALL | re.MULTILINE)
    return {path: body for path, body in found if "proxy_pass" in body}


@pytest.mark.parametrize("where", [FULL, PLAIN], ids=["full", "default"])
def test_the_gateway_has_the_routes_of_the_plan_and_no_other(where: plan.Plan) -> None:
    blocks = servers(where)
    assert set(blocks) - {"_", "gateway"} <= set(where.names)
    for name, block in blocks.items():
        if name in {"_", "gateway"}:
            assert not locations(block)
            continue
        own = {it.route.path: it for it in where.routes if it.host == name}
        expected = {it.route.path: it for it in where.routes if it.host is None} | own
        found = {path.partition("(")[0]: body for path, body in locations(block).items()}
        assert set(found) == set(expected)
        for path, it in expected.items():
            assert f"proxy_pass http://{it.part}_{it.route.port}" in found[path]
            assert ("auth_basic_user_file" in found[path]) is it.route.operator


def test_a_host_of_its_own_wins_over_the_routes_of_every_name() -> None:
    blocks = servers(FULL)
    assert "http://shop_3000" in locations(blocks["shop.test"])["/"]
    assert "/" not in locations(blocks["maia.test"])
    assert "return 302 /status/" in blocks["maia.test"]
    assert "return 302 /status/" not in blocks["shop.test"]


def test_prometheus_answers_questions_only() -> None:
    block = servers(FULL)["maia.test"]
    pattern = re.search(r"location ~ (\^/ops/prometheus/\S+) \{", block)
    assert pattern
    question = re.compile(pattern[1].replace("?<", "?P<"))
    for path in ("api/v1/query", "api/v1/query_range", "api/v1/label/job/values", "api/v1/alerts", "-/healthy"):
        assert question.match("/ops/prometheus/" + path)
    for path in (
        "api/v1/admin/tsdb/snapshot",
        "-/quit",
        "-/reload",
        "api/v1/status/config",
        "debug/pprof/",
        "graph",
        "",
    ):
        assert not question.match("/ops/prometheus/" + path)


def test_plain_http_is_there_only_where_the_stack_file_asks() -> None:
    assert "listen 8080" in text(FULL, "gateway", "/etc/maia/nginx.conf")
    assert "listen 8080" not in text(PLAIN, "gateway", "/etc/maia/nginx.conf")
    assert "8080" not in text(PLAIN, "gateway", "/etc/maia/firewall.nft")


@pytest.mark.parametrize("where", [FULL, PLAIN], ids=["full", "default"])
def test_the_gateway_may_connect_to_the_upstreams_of_its_routes_and_nowhere_else(where: plan.Plan) -> None:
    nft = text(where, "gateway", "/etc/maia/firewall.nft")
    output = nft.partition("chain output")[2]
    accepted = [line.strip() for line in output.splitlines() if "accept" in line]
    assert accepted[:2] == ["oif lo accept", "ct state established,related accept"]
    allowed = {
        ":".join(re.findall(r"ip daddr (\S+) tcp dport (\d+) ct state new accept", line)[0]) for line in accepted[2:]
    }
    assert allowed == {server.split()[0] for servers in upstreams(where).values() for server in servers}
    for target in allowed:
        address = target.partition(":")[0]
        assert any(
            address in (*container.addresses.values(), *container.candidate_addresses.values())
            for container in where.containers
        )
    assert nft.count("policy drop") == 3


def test_an_apps_next_version_serves_only_where_the_app_itself_does_not() -> None:
    shop, forum = FULL.container("shop"), FULL.container("forum")
    live, tried = f"{shop.addresses['apps']}:3000 max_fails=0", f"{shop.candidate_addresses['apps']}:3000 backup"
    found = upstreams(FULL)
    assert found["shop_3000"] == [live, tried]
    assert found["forum_8080"] == [f"{forum.addresses['apps']}:8080 max_fails=0"]


def test_operators_log_in_with_the_secret() -> None:
    user, _, hashed = text(FULL, "gateway", "/run/secrets/operators").strip().partition(":")
    assert user == "operator"
    assert bcrypt.checkpw(SECRETS["operator"].encode(), hashed.encode())


def access(where: plan.Plan) -> list[str]:
    conf = text(where, "exit", "/etc/maia/squid.conf")
    return [line for line in conf.splitlines() if line.startswith("http_access ")]


def test_nothing_leaves_unless_the_stack_file_says_so() -> None:
    rules = access(PLAIN)
    assert all(rule.startswith(("http_access deny ", "http_access allow manager ")) for rule in rules)
    assert rules[-1] == "http_access deny all"


def test_each_grant_is_one_part_one_host_one_port() -> None:
    conf, rules = text(FULL, "exit", "/etc/maia/squid.conf"), access(FULL)
    allowed = [rule.split()[2:] for rule in rules if rule.startswith("http_access allow part_")]
    assert rules[-1] == "http_access deny all"
    assert len(allowed) == len(FULL.grants) == 3
    for number, (grant, words) in enumerate(zip(FULL.grants, allowed, strict=True), 1):
        tried = FULL.container(grant.part).candidate_addresses["exit"]
        assert f"acl part_{number} src {grant.address}/32 {tried}/32\n" in conf
        assert f"acl host_{number} dstdomain -n {grant.endpoint.host}\n" in conf
        assert f"acl port_{number} port {grant.endpoint.port}\n" in conf
        assert {f"part_{number}", f"host_{number}", f"port_{number}", "!never"} <= set(words)
        assert ("tunnel" in words) is (grant.endpoint.port != 80)
        assert ("!private" in words) is (grant.endpoint.host != "10.1.2.3")


def test_no_name_leads_back_into_the_appliance() -> None:
    never = re.findall(r"^acl never dst (.*)$", text(FULL, "exit", "/etc/maia/squid.conf"), re.MULTILINE)
    closed = [ipaddress.ip_network(word) for line in never for word in line.split()]
    for network in FULL.networks:
        assert ipaddress.ip_network(network.subnet) in closed
    for address in ("127.0.0.1", "169.254.169.254", "::1"):
        assert any(ipaddress.ip_address(address) in network for network in closed)


def test_only_those_who_show_the_counters_may_read_them() -> None:
    allowed = {rule.split()[-1] for rule in access(FULL) if rule.startswith("http_access allow manager ")}
    assert allowed == {"from_status", "from_blackbox-exporter"}


def test_an_app_finds_its_credentials_as_json() -> None:
    found = {kind: json.loads(text(FULL, "shop", f"/run/secrets/{kind}.json")) for kind in ("postgres", "redis", "s3")}
    assert found["postgres"]["password"] == SECRETS["shop-postgres"]
    assert found["postgres"]["database"] == "shop"
    assert "sslmode=verify-full" in found["postgres"]["url"]
    assert found["redis"]["prefix"] == "shop:"
    assert found["s3"]["buckets"] == ["shop-files"]
    assert found["s3"]["secret_key"] == SECRETS["shop-s3"]


@pytest.mark.parametrize("part", ["gateway", "redis"])
def test_the_start_scripts_are_clean_shell(part: str) -> None:
    script = text(PLAIN, part, "/etc/maia/start.sh")
    checked = subprocess.run(
        ["shellcheck", "--shell=sh", "-"], input=script, text=True, capture_output=True, check=False
    )
    assert checked.returncode == 0, checked.stdout
