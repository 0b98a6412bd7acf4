"""What the appliance costs a query: its Postgres beside the same server outside it."""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import docker
from docker.models.containers import Container
from docker.types import IPAMConfig, IPAMPool

from infra.catalog.model import Zone
from infra.stack import Stack
from tests import clients
from tests.bench.machine import middle

SCALE = 10
LOAD = ("--select-only", "--client=4", "--jobs=2", "--no-vacuum")
DATABASE = "maia_bench"
NETWORK = "maia-bench-plain"
SUBNET = "10.88.0.0/24"


def compare(stack: Stack, folder: Path, *, seconds: int, rounds: int, say: Callable[[str], None]) -> dict[str, float]:
    """Transactions per second of ``pgbench -S`` with 4 clients, inside and outside, taken in turns.

    Both ways the client is a container of the same image on the server's own network: TCP, TLS 1.3, certificate and
    host name verified. Outside there is no memory, processor or process limit and no hardening.
    """
    found: dict[str, list[float]] = {"inside": [], "outside": []}
    with ExitStack() as ends:
        login, password = ends.enter_context(clients.database_login(stack, DATABASE))
        access = f"postgres:5432:{DATABASE}:{login}:{password}\n"
        inside = ends.enter_context(clients.visitor(stack, Zone.DATA, access))
        outside = ends.enter_context(_outside(stack, folder))
        ways = {"inside": (inside.run, login), "outside": (outside, DATABASE)}
        for name, (run, user) in ways.items():
            say(f"postgres: filling it {name}")
            run("pgbench", "--initialize", f"--scale={SCALE}", "--quiet", _address(user))
        for number in range(rounds):
            for name, (run, user) in ways.items():
                say(f"postgres: {name} ({number + 1} of {rounds})")
                said = run(
                    "pgbench", "-S", "--client=4", "--jobs=2", f"--time={seconds}", "--no-vacuum", _address(user)
                )
                speed = re.search(r"^tps = ([\d.]+)", said, re.MULTILINE)
                assert speed, said
                found[name].append(float(speed[1]))
    return {name: middle(values) for name, values in found.items()}


def _address(user: str) -> str:
    return f"host=postgres dbname={DATABASE} user={user} sslmode=verify-full sslrootcert=/ca.crt"


@contextmanager
def _outside(stack: Stack, folder: Path) -> Iterator[Callable[..., str]]:
    """The same image with the same settings and certificate, by a plain ``docker run``; runs commands beside it."""
    part, password = stack.plan.container("postgres"), secrets.token_urlsafe(24)
    uid, gid = (int(number) for number in part.user.split(":"))
    kept = stack.site.files(stack.name) / "postgres"
    shutil.copytree(kept / "config", folder / "config")
    hba = folder / "config" / "pg_hba.conf"
    hba.chmod(0o644)
    hba.write_text(hba.read_text().replace(stack.plan.network(Zone.DATA).subnet, SUBNET))
    pgpass = folder / "pgpass"
    pgpass.touch(0o600)
    pgpass.write_text(f"postgres:5432:{DATABASE}:{DATABASE}:{password}\n")
    shutil.chown(pgpass, uid, gid)
    folder.chmod(0o755)
    client = docker.from_env()
    pool = IPAMConfig(pool_configs=[IPAMPool(subnet=SUBNET)])
    network = client.networks.create(NETWORK, driver="bridge", ipam=pool)
    started: list[Container] = []
    try:
        server = client.containers.run(
            part.image_id,
            detach=True,
            name=f"{NETWORK}-server",
            user=part.user,
            shm_size="1g",
            tmpfs={"/run/postgresql": f"uid={uid},gid={gid},mode=0700"},
            volumes=[f"{folder}/config:/etc/maia:ro", f"{kept}/secrets:/run/secrets:ro"],
        )
        started.append(server)
        network.connect(server, aliases=["postgres"])
        _await(server)
        admin = ["psql", "host=/run/postgresql user=postgres", "-XAtqc"]
        for statement in (
            f"create role {DATABASE} login password '{password}'",
            f"create database {DATABASE} owner {DATABASE}",
        ):
            code, said = server.exec_run([*admin, statement])
            assert code == 0, said
        beside = client.containers.run(
            part.image_id,
            entrypoint=["sleep", "infinity"],
            detach=True,
            init=True,
            name=f"{NETWORK}-client",
            network=NETWORK,
            user=part.user,
            environment={"PGPASSFILE": "/pgpass"},
            volumes=[f"{pgpass}:/pgpass:ro", f"{folder}/config/ca.crt:/ca.crt:ro"],
        )
        started.append(beside)

        def run(*command: str) -> str:
            code, said = beside.exec_run(list(command))
            assert isinstance(said, bytes)
            assert code == 0, said.decode()
            return said.decode()

        yield run
    finally:
        for container in started:
            container.remove(force=True, v=True)
        network.remove()


def _await(server: Container) -> None:
    ready = ["bash", "-c", "until psql 'host=/run/postgresql user=postgres' -XAtqc 'select 1'; do sleep 0.2; done"]
    assert server.exec_run(["timeout", "60", *ready]).exit_code == 0, server.logs().decode()
