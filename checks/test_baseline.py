"""Every container keeps the baseline; where its catalog entry departs from it, just there and with a reason."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from checks.facts import ContainerFact, Facts, FileMode
from checks.plugin import Case, Expect, cases, for_parts
from infra.place import Place
from infra.plan import Container, Plan
from infra.site import Site

Pair = tuple[Any, Any]
"""What is observed, and what is expected."""

MIB = 2**20
NAMESPACES = ("IpcMode", "NetworkMode", "PidMode", "UTSMode", "UsernsMode")


def image(part: Container, fact: ContainerFact) -> Pair:
    return fact.inspect["Image"], part.image_id


def user(part: Container, fact: ContainerFact) -> Pair:
    """The processes' own ids: not just what was asked for. A part that starts as root must have left it behind."""
    uid, gid = (int(text) for text in part.user.split(":"))
    processes = fact.lasting if part.root else fact.processes
    return {(*p.uids, *p.gids) for p in processes}, {(uid, gid)}


def groups(part: Container, fact: ContainerFact) -> Pair:
    """Beside its own, just those of the parts whose files it reads."""
    return sorted(int(group) for group in fact.host["GroupAdd"] or ()), sorted(part.groups)


def readonly(part: Container, fact: ContainerFact) -> Pair:
    return fact.host["ReadonlyRootfs"], True


def capabilities(part: Container, fact: ContainerFact) -> Pair:
    """Dropped all, and given back just what the plan names."""
    added = {name.removeprefix("CAP_") for name in fact.host["CapAdd"] or ()}
    return {"drop": fact.host["CapDrop"], "add": added}, {"drop": ["ALL"], "add": set(part.capabilities)}


def powerless(part: Container, fact: ContainerFact) -> Pair:
    """No lasting process holds a capability, whatever the container was given."""
    return {p.command.split()[0]: f"{p.capabilities:x}" for p in fact.lasting if p.capabilities}, {}


def no_new_privileges(part: Container, fact: ContainerFact) -> Pair:
    asked = any(option.startswith("no-new-privileges") for option in fact.host["SecurityOpt"] or ())
    return asked and all(process.no_new_privileges for process in fact.processes), True


def seccomp(part: Container, fact: ContainerFact) -> Pair:
    unconfined = any("unconfined" in option for option in fact.host["SecurityOpt"] or ())
    return {"unconfined": unconfined, "modes": {p.seccomp for p in fact.processes}}, {"unconfined": False, "modes": {2}}


def memory(part: Container, fact: ContainerFact) -> Pair:
    return (fact.host["Memory"], fact.host["MemorySwap"]), (part.memory * MIB, part.memory * MIB)


def cpus(part: Container, fact: ContainerFact) -> Pair:
    return fact.host["NanoCpus"] / 1e9, part.cpus


def pids(part: Container, fact: ContainerFact) -> Pair:
    return fact.host["PidsLimit"], part.pids


def shared_memory(part: Container, fact: ContainerFact) -> Pair:
    return fact.host["ShmSize"] // MIB, part.shared_memory or 64


def restart(part: Container, fact: ContainerFact) -> Pair:
    return fact.host["RestartPolicy"]["Name"], "unless-stopped"


def log_rotation(part: Container, fact: ContainerFact) -> Pair:
    config = fact.host["LogConfig"]
    return {"type": config["Type"], "options": sorted(config["Config"])}, {
        "type": "json-file",
        "options": ["max-file", "max-size"],
    }


def healthcheck(part: Container, fact: ContainerFact) -> Pair:
    return (fact.settings.get("Healthcheck") or {}).get("Test"), ["CMD", *part.health.command]


def privileged(part: Container, fact: ContainerFact) -> Pair:
    return {"privileged": fact.host["Privileged"], "devices": fact.host["Devices"] or []}, {
        "privileged": False,
        "devices": [],
    }


def host_namespaces(part: Container, fact: ContainerFact) -> Pair:
    """Neither the machine's nor another container's."""
    found = {key: fact.host[key] for key in NAMESPACES}
    shared = {
        key: mode for key, mode in found.items() if mode in ("host", "shareable") or mode.startswith("container:")
    }
    return shared, {}


def docker_socket(part: Container, fact: ContainerFact) -> Pair:
    return [mount["Source"] for mount in fact.inspect["Mounts"] if mount["Source"].endswith("docker.sock")], []


def command(part: Container, fact: ContainerFact) -> Pair:
    """The plan's, or where it names none the image's own."""
    own = fact.image["Config"]
    planned = list(part.command) or [*(own["Entrypoint"] or ()), *(own["Cmd"] or ())]
    return [*(fact.settings["Entrypoint"] or ()), *(fact.settings["Cmd"] or ())], planned


def scratch(part: Container, fact: ContainerFact) -> Pair:
    """Only the planned folders are tmpfs, and nothing in them runs or is a device."""
    folders = {
        path: {"noexec", "nodev", "nosuid"} <= set(how.split(",")) for path, how in (fact.host["Tmpfs"] or {}).items()
    }
    return folders, dict.fromkeys(part.scratch, True)


RULES: Mapping[str, Callable[[Container, ContainerFact], Pair]] = {
    rule.__name__.replace("_", "-"): rule
    for rule in (
        *(image, user, groups, readonly, capabilities, powerless, no_new_privileges, seccomp, memory, cpus, pids),
        *(
            shared_memory,
            restart,
            log_rotation,
            healthcheck,
            privileged,
            host_namespaces,
            docker_socket,
            command,
            scratch,
        ),
    )
}


@cases(for_parts(RULES))
def test_baseline(case: Case, plan: Plan, facts: Facts, expect: Expect) -> None:
    part = plan.container(case.part)
    expect(*RULES[case.rule](part, facts.container(part.name)))


@cases(lambda plan: [Case("exact"), *(Case("healthy", container.part) for container in plan.containers)])
def test_parts(case: Case, plan: Plan, at: Place, facts: Facts, expect: Expect) -> None:
    if case.rule == "exact":
        running = {name for name, fact in facts.containers.items() if fact.inspect["State"]["Running"]}
        expect(running, {container.name for container in plan.containers} if plan.running else set())
    elif plan.running:
        part = plan.container(case.part)
        expect(_health(part, facts.container(part.name), at), "healthy")


def _health(part: Container, fact: ContainerFact, at: Place) -> str:
    """Docker's verdict; ours, by the same command, before it has reached one."""
    state = fact.inspect["State"]
    if state["Status"] != "running":
        return str(state["Status"])
    found = str((state.get("Health") or {"Status": "without a health check"})["Status"])
    if found == "starting":
        client = at.docker()
        asked = client.api.exec_create(fact.inspect["Id"], list(part.health.command))
        client.api.exec_start(asked["Id"])
        return "healthy" if client.api.exec_inspect(asked["Id"])["ExitCode"] == 0 else "starting"
    return found


@cases(for_parts(["exact"]))
def test_mounts(case: Case, plan: Plan, home: Site, facts: Facts, expect: Expect) -> None:
    part = plan.container(case.part)
    folder = home.files(plan.stack) / part.part
    planned = {"/etc/maia": (str(folder / "config"), False)}
    if part.certificate or any(file.secret for file in part.files):
        planned["/run/secrets"] = (str(folder / "secrets"), False)
    if part.socket:
        planned[part.socket] = (str(home.sockets(plan.stack) / part.part), True)
    planned |= {path: (str(home.sockets(plan.stack) / other), False) for other, path in part.sockets.items()}
    if part.archive:
        planned[part.archive] = (str(home.archive(plan.stack, plan.backup.folder)), True)
    planned |= {mount.path: (mount.volume, mount.writable) for mount in part.mounts}
    found = facts.container(part.name).inspect["Mounts"]
    expect({m["Destination"]: (m.get("Name") or m["Source"], m["RW"]) for m in found if m["Type"] != "tmpfs"}, planned)


@cases(for_parts(["files", "environment", "command"]))
def test_secrets(case: Case, plan: Plan, facts: Facts, secrets: Mapping[str, str], expect: Expect) -> None:
    part = plan.container(case.part)
    fact = facts.container(part.name)
    if case.rule == "files":
        uid, gid = (int(text) for text in part.user.split(":"))
        names = {file.path.removeprefix("/run/secrets/") for file in part.files if file.secret}
        names |= {"tls.crt", "tls.key"} if part.certificate else set()
        return expect(fact.secrets, dict.fromkeys(names, FileMode(0o400, uid, gid)))
    if not secrets:
        pytest.skip("the values of the secrets were not given")
    if case.rule == "environment":
        given = dict(entry.partition("=")[::2] for entry in fact.settings["Env"] or ())
        shown = {name: value for name, value in given.items() if name not in part.wire}
        beside = "" if part.wire else " ".join(process.environment for process in fact.processes)
        text = f"{shown} {beside}"
    else:
        text = f"{fact.settings['Cmd']} {fact.settings['Entrypoint']} {[p.command for p in fact.processes]}"
    return expect(sorted(name for name, value in secrets.items() if _key(value) in text), [])


def _key(secret: str) -> str:
    """What to look for: of a PEM text, its first line of data."""
    lines = secret.split()
    return next((line for line in lines if re.fullmatch(r"[A-Za-z0-9+/=_-]{20,}", line)), secret)


@cases(for_parts(["read-only"]))
def test_config(case: Case, plan: Plan, facts: Facts, expect: Expect) -> None:
    """What a part reads, only this machine's root may write."""
    found = facts.container(plan.container(case.part).name).config
    expect({name: str(mode) for name, mode in found.items() if mode.mode & 0o222 or mode.uid}, {})


@cases(for_parts(["declared"]))
def test_deviations(case: Case, plan: Plan, facts: Facts, expect: Expect) -> None:
    """A departure from the baseline is in the catalog with a reason, and none is there that is not."""
    part = plan.container(case.part)
    fact = facts.container(part.name)
    departs = set()
    if fact.settings["User"].partition(":")[0] in ("", "0", "root"):
        departs.add("user")
    if fact.host["CapAdd"]:
        departs.add("capabilities")
    if not fact.host["ReadonlyRootfs"]:
        departs.add("read-only root")
    if set(part.wire) & {entry.partition("=")[0] for entry in fact.settings["Env"] or ()}:
        departs.add("env")
    expect(departs, {deviation.field for deviation in part.deviations if deviation.reason})
