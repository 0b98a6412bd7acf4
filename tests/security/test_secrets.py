"""Secrets are where they belong and nowhere else; processes cannot write or rise beyond what they were given."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.models.containers import Container as Running

from infra import authority
from infra.cli import common
from infra.plan import Container
from infra.stack import Stack
from tests.conftest import Appliance

CUSTODIAN = "backup"
"""The part that keeps every secret, for the day of a loss."""
PEM = "PRIVATE KEY-----"


class Secrets(dict[str, bytes]):
    """Values by name; a failed test shows the names only."""

    def __repr__(self) -> str:
        return f"<{', '.join(sorted(self))}>"


@pytest.fixture(scope="module")
def secrets(appliance: Appliance) -> Secrets:
    """Every secret of the stack, by name; of a key, a line from its middle, which every form of it holds."""
    stack = appliance.stack
    values = common.engine(stack, lambda _: None).secrets()
    assert set(stack.plan.secrets) <= values.keys()
    made = Secrets({name: value.encode() for name, value in values.items() if "\n" not in value})
    made[authority.KEY] = values[authority.KEY].splitlines()[1].encode()
    for part in stack.plan.containers:
        if part.certificate:
            key = (stack.site.files(stack.name) / part.part / "secrets" / "tls.key").read_text()
            made[f"{part.part}'s TLS key"] = key.splitlines()[1].encode()
    made["the passphrase"] = stack.site.passphrase.read_bytes().strip()
    assert min(map(len, made.values())) >= 20
    assert len(made) > 8
    return made


@pytest.fixture
def running(stack: Stack) -> dict[str, Running]:
    client = docker.from_env()
    return {part.part: client.containers.get(part.name) for part in stack.plan.containers}


def found(secrets: Secrets, text: bytes | str) -> set[str]:
    """Names of the secrets that stand in ``text``."""
    data = text.encode() if isinstance(text, str) else text
    return {name for name, value in secrets.items() if value in data}


def processes() -> Iterator[tuple[str, bytes]]:
    """Command lines and environments of everything that runs on this machine, its containers included."""
    for folder in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                yield f"{folder.name}/{name}", (folder / name).read_bytes()
            except OSError:  # it ended
                continue


# -- where they must not be -------------------------------------------------------------------------------------------


def test_the_search_finds_what_is_there(secrets: Secrets, stack: Stack) -> None:
    files = stack.site.files(stack.name)
    kept: dict[str, set[str]] = {"custodian": set(), "others": set()}
    for path in (path for path in files.rglob("*") if path.is_file()):
        who = "custodian" if path.is_relative_to(files / CUSTODIAN) else "others"
        kept[who] |= found(secrets, path.read_bytes())
    # An app that was removed may have left secrets in the stack file, for the day it comes back.
    used = {name for name in secrets if name in stack.plan.secrets}
    assert kept["custodian"] == used | {authority.KEY}
    # The operator's password is kept as a hash, as is that of Redis's copy; keys of archives are derived from theirs,
    # and what signs evidence, or encrypts what is adopted, is of use on the machine alone.
    keys = {name for name in secrets if name.endswith("TLS key")}
    assert kept["others"] == (used | keys) - {"operator", "recovery", "redis-backup", "evidence", "envelope"}


def test_docker_knows_no_secret(secrets: Secrets, stack: Stack, running: Mapping[str, Running]) -> None:
    client = docker.from_env()
    known: list[Any] = [container.attrs for container in running.values()]
    known += [client.api.inspect_image(part.image_id) for part in stack.plan.containers]  # type: ignore[no-untyped-call]
    known += [client.api.history(part.image_id) for part in stack.plan.containers]  # type: ignore[no-untyped-call]
    known += [network.attrs for network in client.networks.list(names=[f"maia-{stack.name}-"])]
    known += [volume.attrs for volume in client.volumes.list() if volume.name.startswith(f"maia-{stack.name}-")]
    assert found(secrets, json.dumps(known)) == set()


def test_no_log_holds_a_secret(secrets: Secrets, running: Mapping[str, Running]) -> None:
    for part, container in running.items():
        assert found(secrets, container.logs()) == set(), part


def test_the_machines_owners_folder_holds_no_secret_but_where_parts_read_it(secrets: Secrets, stack: Stack) -> None:
    """State with its backups and history, stack file, evidence, locks, and whatever else comes to lie there."""
    mounted = stack.site.files(stack.name)
    own = [stack.site.passphrase, stack.site.key]  # the keys of the folder itself
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in own)
    allowed = [mounted / "administrators", *mounted.glob("*/secrets"), *own]
    looked = 0
    for folder, _, names in os.walk(stack.site.root):
        for path in (Path(folder) / name for name in names):
            if path.is_file() and not any(path.is_relative_to(place) for place in allowed):
                data = path.read_bytes()
                assert found(secrets, data) == set(), path
                assert PEM.encode() not in data, path
                looked += 1
    assert looked > 20
    state = stack.site.state / ".pulumi"
    assert list((state / "stacks").rglob("*.json")), "no state was looked at"
    assert list((state / "history").rglob("*.json")), "no history was looked at"


def test_the_plan_names_secrets_and_holds_none(secrets: Secrets, appliance: Appliance, stack: Stack) -> None:
    shown = appliance.maia("plan", "--json").stdout + appliance.maia("plan").stdout
    assert "postgres-exporter-postgres" in shown
    assert found(secrets, shown + stack.plan.json()) == set()


@pytest.mark.parametrize("verb", [("status",), ("status", "--json"), ("secrets", "list"), ("preview",), ("doctor",)])
def test_a_verb_tells_no_secret(secrets: Secrets, appliance: Appliance, verb: tuple[str, ...]) -> None:
    done = appliance.maia(*verb, check=False)
    assert found(secrets, done.stdout + done.stderr) == set()


def test_while_the_stack_is_brought_up_no_process_is_told_a_secret(secrets: Secrets, appliance: Appliance) -> None:
    """The engine, its plugins and the program live for seconds only, so they are watched all the while."""
    seen: set[str] = set()
    told: set[tuple[str, str]] = set()
    with appliance.start("up", "--skip-checks") as up:
        try:
            while up.poll() is None:
                for where, data in processes():
                    told |= {(where.partition("/")[2], name) for name in found(secrets, data)}
                    if where.endswith("cmdline"):
                        seen |= {Path(word.decode(errors="replace")).name for word in data.split(b"\0")[:8]}
        finally:
            up.kill() if up.poll() is None else None
        assert up.stdout
        said = up.stdout.read()
    assert up.returncode == 0, said
    assert found(secrets, said) == set()
    assert {"pulumi", "pulumi-language-python-exec"} <= seen, "it was over before it was seen"
    assert told == set()


# -- who may read them ------------------------------------------------------------------------------------------------


def mode(path: Path) -> tuple[int, int, int]:
    of = path.lstat()
    return stat.S_IMODE(of.st_mode), of.st_uid, of.st_gid


def test_the_owners_folder_is_closed_to_everyone_else(stack: Stack) -> None:
    assert mode(stack.site.root) == (0o700, os.getuid(), os.getgid())
    assert mode(stack.site.passphrase) == (0o600, os.getuid(), os.getgid())
    assert mode(stack.site.state)[0] == 0o700


def test_secrets_are_readable_for_their_part_alone(stack: Stack) -> None:
    looked = 0
    for part in stack.plan.containers:
        owner = tuple(int(number) for number in part.user.split(":"))
        folder = stack.site.files(stack.name) / part.part / "secrets"
        for path in (folder, *folder.rglob("*")) if folder.exists() else ():
            assert mode(path) == (0o500 if path.is_dir() else 0o400, *owner), path
            looked += 1
    assert looked > 10
    administrators = stack.site.files(stack.name) / "administrators"
    assert mode(administrators) == (0o500, 0, 0)
    assert {mode(path) for path in administrators.iterdir()} == {(0o400, 0, 0)}


def test_configuration_cannot_be_changed_by_the_part_that_reads_it(stack: Stack) -> None:
    for part in stack.plan.containers:
        folder = stack.site.files(stack.name) / part.part / "config"
        for path in (folder, *folder.rglob("*")):
            assert mode(path) == (0o755 if path.is_dir() else 0o444, 0, 0), path


def test_administrative_sockets_are_closed_to_everyone_but_their_part(stack: Stack) -> None:
    sockets = stack.site.sockets(stack.name)
    parts = [part for part in stack.plan.containers if part.socket]
    assert {path.name for path in sockets.iterdir()} == {part.part for part in parts}
    for part in parts:
        assert mode(sockets / part.part)[0] & 0o077 == 0
        assert mode(sockets / part.part)[1:] == tuple(int(number) for number in part.user.split(":"))
    stranger = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--", "test", "-e"]
    assert subprocess.run([*stranger, "/"]).returncode == 0
    for path in sockets.rglob("*"):
        if path.is_socket():
            assert subprocess.run([*stranger, path]).returncode == 1, path


# -- what a process inside a container can do -------------------------------------------------------------------------


def as_part(container: Running, part: Container, script: str) -> str:
    """What a shell says that runs as the part's own processes do."""
    code, output = container.exec_run(["bash", "-c", script], user=part.user)
    assert isinstance(output, bytes)
    said = output.decode(errors="replace")
    assert code == 0, said
    return said


def test_nothing_can_be_written_but_scratch_volumes_and_the_socket(
    stack: Stack, running: Mapping[str, Running]
) -> None:
    for part in stack.plan.containers:
        # The kernel's own: shared memory in its limit, and what a process may say about itself.
        given = {"/dev/shm", "/dev/mqueue", *part.scratch, *(mount.path for mount in part.mounts if mount.writable)}
        given |= {part.socket, part.archive} - {""}
        search = "find / -path /proc -prune -o -writable -type d -print -o -writable -type f -print 2>/dev/null; true"
        writable = set(as_part(running[part.part], part, search).split("\n")) - {""}
        beyond = {path for path in writable if not any(Path(path).is_relative_to(place) for place in given)}
        assert beyond == set(), part.part
        assert set(part.scratch) <= writable, part.part
        tried = (
            "for f in / /etc /usr/bin /etc/maia /run/secrets /proc/sys/kernel /sys; do : > $f/planted && echo $f; done"
        )
        assert as_part(running[part.part], part, f"({tried}) 2>/dev/null; true") == "", part.part


def test_a_program_put_into_scratch_does_not_run(stack: Stack, running: Mapping[str, Running]) -> None:
    for part in stack.plan.containers:
        for folder in (*part.scratch, "/dev/shm"):
            file = f"{folder}/planted-by-a-test"
            script = f"cp /bin/true {file} && chmod 700 {file} || exit 9; {file} 2>&1; echo $?; rm {file}"
            said = as_part(running[part.part], part, script)
            assert said.endswith("126\n"), (part.part, folder, said)
            assert "Permission denied" in said


def test_no_program_gives_more_privilege_than_its_caller_has(stack: Stack, running: Mapping[str, Running]) -> None:
    for part in stack.plan.containers:
        status = as_part(running[part.part], part, "cat /proc/self/status")
        assert re.search(r"^NoNewPrivs:\t1$", status, re.MULTILINE), part.part
        for kind in ("CapEff", "CapPrm", "CapInh", "CapAmb"):
            assert re.search(rf"^{kind}:\t0+$", status, re.MULTILINE), (part.part, kind)
        raised = "find / -xdev -type f -perm /6000 2>/dev/null; true"
        for program in as_part(running[part.part], part, raised).split():
            run = f"timeout 5 {program} -c id </dev/null 2>&1 | grep -c 'uid=0\\|euid=0'; true"
            assert as_part(running[part.part], part, run).strip() == "0", (part.part, program)


def test_a_part_sees_no_process_and_no_secret_but_its_own(
    secrets: Secrets, stack: Stack, running: Mapping[str, Running]
) -> None:
    for part in stack.plan.containers:
        own = {*part.secrets, f"{part.part}'s TLS key"}
        if part.custodian:
            own |= {*stack.plan.secrets, authority.KEY}
        everything = "find / -xdev -path /proc -prune -o -type f -size -64k -readable -print0 | xargs -0 cat"
        given = "cat /run/secrets/* /etc/maia/* /proc/[0-9]*/environ /proc/[0-9]*/cmdline"
        script = f"({given}; {everything}) 2>/dev/null; true"
        code, output = running[part.part].exec_run(["bash", "-c", script], user=part.user)
        assert code == 0
        assert isinstance(output, bytes)
        assert found(secrets, output) <= own, part.part
