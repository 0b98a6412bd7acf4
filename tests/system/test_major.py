"""From Postgres 15 to this release's on a real stack, and back: every row, login and definition comes over."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import docker
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from infra import releases
from infra.catalog.postgres import MAJOR
from infra.releases import CURRENT
from tests import former
from tests.conftest import STORES, Appliance, small
from tests.processes import kill_at
from tests.releases import FIRST

pytestmark = pytest.mark.long  # a whole appliance of another Postgres is made first

PASSWORD = "a former password"
SHOP = "shop of 'odd=name'"
"""A database whose name must be quoted wherever it is named."""

ROLES = f"""
create role clerk login password '{PASSWORD}' valid until '2040-01-01';
create role reader nologin;
grant reader to clerk;
grant pg_read_all_stats to reader;
alter role clerk set statement_timeout = '7s';
comment on role clerk is 'keeps the shop';
"""
TABLES = """
create extension hstore;
create extension pg_trgm;
create extension pgaudit;
create schema kept;
create sequence kept.numbers start 100 increment 5;
select nextval('kept.numbers') from generate_series(1, 7);
create domain kept.mark as text check (value <> '');
create table kept.items (
  id bigint generated always as identity primary key, name kept.mark not null, about jsonb, raw bytea, tags hstore,
  price numeric(20, 7), ratio float8, moment timestamptz, span interval, list int[],
  twice numeric generated always as (price * 2) stored);
insert into kept.items (name, about, raw, tags, price, ratio, moment, span, list)
  select 'näme ' || n, jsonb_build_object('n', n, 'null', null), decode(md5(n::text), 'hex'), hstore('k', n::text),
    n / 7.0, sqrt(n), '2026-01-01'::timestamptz + n * interval '1 hour 1 ms', n * interval '1 day', array[n, null]
  from generate_series(1, 5000) n;
create index items_name on kept.items using gin (name gin_trgm_ops);
create table kept.parts (item bigint references kept.items, day date) partition by range (day);
create table kept.parts_early partition of kept.parts for values from (minvalue) to ('2026-02-01');
create table kept.parts_late partition of kept.parts for values from ('2026-02-01') to (maxvalue);
insert into kept.parts select n, '2026-01-01'::date + n % 60 from generate_series(1, 500) n;
create unlogged table kept.scratch as select generate_series(1, 10) n;
create materialized view kept.totals as select count(*), sum(price) from kept.items;
delete from kept.items where id = 5000;
create view kept.cheap as select * from kept.items where price < 10;
create function kept.half(n numeric) returns numeric language sql immutable as 'select n / 2';
create function kept.touch() returns trigger language plpgsql as
  $$ begin new.moment := '2026-03-01'; return new; end $$;
create trigger touch before update on kept.items for each row execute function kept.touch();
alter table kept.items enable row level security;
create policy cheap on kept.items to clerk using (price < 10);
grant usage on schema kept to clerk;
grant select on kept.items to clerk;
comment on table kept.items is 'what is for sale';
select lo_from_bytea(424242, decode(repeat('00ff', 9000), 'hex'));
grant select on large object 424242 to clerk;
"""
DATABASE = """
alter database {} set work_mem = '5MB';
comment on database {} is 'of the shop';
revoke connect on database {} from public;
grant connect on database {} to clerk;
"""
LOOK = (
    "select md5(string_agg(i::text, '|' order by id)) from kept.items i",
    "select md5(string_agg(p::text, '|' order by p::text)), count(*) from kept.parts p",
    "select count(*) from kept.scratch",
    "select md5(lo_get(424242))",
    "select last_value, is_called from kept.numbers",
    "select kept.half(9)",
    "select obj_description('kept.items'::regclass)",
    "select count(*) from pg_policies",
    "select grantee::regrole::text, privilege_type from pg_class, aclexplode(relacl) "
    "where oid = 'kept.items'::regclass and grantee <> relowner order by 1, 2",
    "select grantee::regrole::text, privilege_type from pg_largeobject_metadata, aclexplode(lomacl) order by 1, 2",
    "select count(*) from pg_indexes where schemaname = 'kept'",
    "select extname from pg_extension order by 1",
    "select datname, shobj_description(oid, 'pg_database'), datcollate, datdba::regrole::text from pg_database "
    "where datname <> 'template0' order by 1",
    "select datname, grantee::regrole::text, privilege_type from pg_database, aclexplode(datacl) "
    "where datname <> 'template0' order by 1, 2, 3",
    "select setdatabase::regrole::text is null, setconfig from pg_db_role_setting order by 2",
    "select rolname, rolpassword, rolvaliduntil, shobj_description(oid, 'pg_authid') from pg_authid "
    "where rolname !~ '^pg_' order by 1",
    "select roleid::regrole::text, member::regrole::text from pg_auth_members where member >= 16384 order by 1, 2",
    "insert into kept.items (name, price) values ('next', 1) returning id > 5000",
)
"""What must be the same before and after, as a person would look."""


REHEARSAL = """
import json, sys
from infra import major, releases
from infra.site import Site
from infra.stack import Stack
stack = Stack(sys.argv[1], Site.current())
found = major.carry(stack, releases.read(stack.site, stack.name), lambda text: None)
clusters = {path.parent.name: path.read_text().strip() for path in major._folder(stack.plan).glob("*/PG_VERSION")}
print(json.dumps([found, clusters, major.forget(stack, lambda text: None)]))
"""
"""What an upgrade does with the data, from the present version to itself."""


@dataclass
class Carried:
    """A stack of the former Postgres, and the programs of both releases."""

    appliance: Appliance
    former: Path
    present: Path
    before: list[Any]

    def maia(self, program: Path, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        self.appliance.program = program
        return self.appliance.maia(*words, check=check)

    def refused(self, *words: str) -> str:
        """The line with which a verb of the present release was refused."""
        done = self.maia(self.present, *words, check=False)
        assert done.returncode == 1, done.stdout
        return done.stderr.strip().splitlines()[-1]

    def sql(self, statement: str, database: str = SHOP) -> list[Any]:
        socket = str(self.appliance.site.sockets(self.appliance.name) / "postgres")
        with psycopg.connect(host=socket, user="postgres", dbname=database, autocommit=True) as link:
            done = link.execute(statement.encode())
            return done.fetchall() if done.description else []

    def look(self) -> list[Any]:
        """All that is compared; nothing is changed by it."""
        socket = str(self.appliance.site.sockets(self.appliance.name) / "postgres")
        with psycopg.connect(host=socket, user="postgres", dbname=SHOP) as link:
            found = [link.execute(statement.encode()).fetchall() for statement in LOOK]
            link.rollback()
        return found

    def runs(self) -> int:
        """The major version of the server that runs."""
        return int(self.sql("show server_version_num", "postgres")[0][0]) // 10000

    @property
    def volume(self) -> Path:
        volume = docker.from_env().volumes.get(f"maia-{self.appliance.name}-postgres-data")
        return Path(volume.attrs["Mountpoint"])

    def clusters(self) -> dict[str, str]:
        """Folder to major version."""
        return {path.parent.name: path.read_text().strip() for path in self.volume.glob("*/PG_VERSION")}

    def login(self, password: str) -> bool:
        """Whether the clerk gets in through the network with this password."""
        where = make_conninfo(host="postgres", user="clerk", dbname=SHOP, sslmode="require")
        words = ["psql", where, "-Atc", "select count(*) > 0 from kept.items"]
        part = docker.from_env().containers.get(f"maia-{self.appliance.name}-backup")
        done = part.exec_run(words, environment={"PGPASSWORD": password})
        return done.exit_code == 0 and done.output == b"t\n"

    @contextmanager
    def no_login(self) -> Iterator[None]:
        """The checks know of no clerk."""
        self.sql("alter role clerk nologin", "postgres")
        yield
        self.sql("alter role clerk login", "postgres")

    def state(self) -> Any:
        """All that a refused upgrade could have touched."""
        name = self.appliance.name
        found = docker.from_env().containers.list(all=True, filters={"label": f"maia.stack={name}"})
        running = {(str(each.name), str(each.id), each.attrs["State"]["StartedAt"]) for each in found}
        points = sorted(path.name for path in (self.appliance.site.archive(name) / "restic").glob("snapshots/*"))
        return running, points, self.clusters(), self.appliance.site.stack_file(name).read_text()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Carried]:
    folder = tmp_path_factory.mktemp("major")
    with small(folder / "site") as appliance:
        appliance.disable(*(set(STORES) - {"backup", "postgres"}), "prometheus", "status")
        appliance.write()
        made = Carried(appliance, former.release(folder / "former"), former.present(folder / "present"), [])
        made.maia(made.former, "up", "--skip-checks")
        quoted = f'"{SHOP}"'
        made.sql(ROLES, "postgres")
        made.sql(f"create database {quoted} owner clerk", "postgres")
        made.sql(DATABASE.format(*[quoted] * 4), "postgres")
        made.sql("comment on database postgres is 'of the house'; create table own as select 1 as n", "postgres")
        made.sql(TABLES)
        made.before = made.look()
        yield made
        appliance.program = made.present


def test_what_would_be_carried_over_is_told_and_nothing_is_touched(made: Carried) -> None:
    assert made.runs() == int(former.VERSION)
    assert made.login(PASSWORD)
    before = made.state()
    said = made.maia(made.present, "upgrade", "--dry-run").stdout
    assert f"postgres:  {former.VERSION} → {MAJOR}: all data is carried over, and the stack is down meanwhile" in said
    assert made.state() == before


def test_data_that_the_former_release_never_served_is_refused_in_one_line(made: Carried) -> None:
    before = made.state()
    site, name = made.appliance.site, made.appliance.name
    record = releases.read(site, name)
    assert record
    postgres = replace(record.images["postgres"], packages={"postgresql-16": "16.1-1"})
    releases.write(site, name, CURRENT, replace(record, images=record.images | {"postgres": postgres}))
    try:
        told = f"this release has {MAJOR}, and release {FIRST} ran 16 ("
        line = made.refused("upgrade", "--skip-checks")
        assert line.startswith(f"maia: postgres: the data is of Postgres {former.VERSION}, {told}")
    finally:
        releases.write(site, name, CURRENT, record)
    assert made.state() == before


@pytest.mark.parametrize(
    "at",
    [
        "roles",
        "comparing",
        "exchanging",
    ],
)
def test_a_killed_upgrade_leaves_one_whole_cluster_and_is_undone(made: Carried, at: str) -> None:
    made.appliance.program = made.present
    with made.appliance.start("upgrade", "--skip-checks") as running:
        kill_at(running, at)
    if made.maia(made.present, "rollback", "--skip-checks", check=False).returncode:
        made.maia(made.present, "rollback", "--data", "--skip-checks")  # it had been exchanged already
    assert not [name for name, *_ in made.state()[0] if "major" in name], "no second server on the cluster"
    assert made.runs() == int(former.VERSION)
    assert made.look() == made.before


def test_every_row_login_and_definition_comes_over(made: Carried) -> None:
    done = made.maia(made.present, "upgrade", "--skip-checks")
    assert f"Postgres {former.VERSION} → {MAJOR}: " in done.stderr
    assert made.runs() == MAJOR
    assert made.look() == made.before
    assert made.sql("select count from kept.totals") == [(4999,)], "refreshed on the way"
    assert made.sql("select n from own", "postgres") == [(1,)]
    assert made.login(PASSWORD)
    assert not made.login("another password")
    assert made.sql("select count(*) > 0 from pg_stats where schemaname = 'kept'") == [(True,)]
    assert made.clusters() == {"data": str(MAJOR), former.VERSION: former.VERSION}
    with made.no_login():
        made.maia(made.present, "check")
    assert "changes: none" in made.maia(made.present, "up", "--skip-checks").stdout


def test_points_are_made_and_verified_afterwards(made: Carried) -> None:
    assert "(full)" in made.maia(made.present, "backup").stdout
    made.maia(made.present, "backups", "verify")


def test_a_point_made_afterwards_is_restored_and_the_way_back_stays(made: Carried) -> None:
    made.sql("create table later as select 1 as n")
    made.maia(made.present, "backup")
    made.sql("drop table later")
    with made.no_login():
        done = made.maia(made.present, "restore", "latest", check=False)
    assert "compared: every table is what the point's manifest says" in done.stdout, done.stderr
    assert made.sql("select n from later") == [(1,)]
    assert made.sql("select count(*) from kept.scratch") == [(0,)], "no point holds what is not in the WAL"
    made.sql("insert into kept.scratch select generate_series(1, 10)")
    assert made.look() == made.before
    assert made.clusters() == {"data": str(MAJOR), former.VERSION: former.VERSION}
    made.sql("drop table later")


def test_a_point_of_the_former_postgres_is_refused_before_anything_is_touched(made: Carried) -> None:
    record = releases.read(made.appliance.site, made.appliance.name, releases.PREVIOUS)
    assert record
    before = made.state()
    line = made.refused("restore", record.point)
    assert f"is of Postgres {former.VERSION}, this is {MAJOR}: release {FIRST} restores it" in line
    assert made.state() == before


def test_going_back_leaves_behind_what_was_written_since_and_asks_first(made: Carried) -> None:
    made.sql("create table since as select 1 as n")
    before = made.state()
    line = made.refused("rollback", "--skip-checks")
    assert f"reads Postgres {former.VERSION}, and what was written since the upgrade is of {MAJOR} (" in line
    assert made.state() == before
    said = made.maia(made.present, "rollback", "--data", "--skip-checks").stdout
    assert "what was written since is in the last-chance point" in said
    assert made.runs() == int(former.VERSION)
    assert made.look() == made.before
    assert not made.sql("select 1 from pg_class where relname = 'since'")
    made.maia(made.former, "backup")
    made.maia(made.former, "backups", "verify")


def test_vectors_and_their_index_come_over(made: Carried) -> None:
    """Debian 12 has no pgvector, so they are carried from the present version to itself."""
    made.maia(made.present, "upgrade", "--skip-checks")
    made.sql("""create extension vector; create table places (id int primary key, at vector(8));
        insert into places select n, array[n, n % 7, n % 5, sqrt(n), 1, 2, 3, 4]::vector
          from generate_series(1, 2000) n;
        create index nearest on places using hnsw (at vector_l2_ops)""")
    made.maia(made.present, "down")
    said = subprocess.run(
        [sys.executable, "-c", REHEARSAL, made.appliance.name],
        cwd=made.present, env=made.appliance.environment | {"PYTHONPATH": str(made.present)},
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    found, clusters, gone = json.loads(said.stdout)
    assert SHOP in found["databases"]
    assert found["rows"] > 2000
    assert clusters == {"data": str(MAJOR), str(MAJOR): str(MAJOR)}
    assert gone == [str(MAJOR)]
    made.maia(made.present, "up", "--skip-checks")
    assert "nothing to upgrade" in made.maia(made.present, "upgrade").stdout
