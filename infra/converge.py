"""Roles carried out by ansible-runner, on this machine or on a server, with its events as progress."""

from __future__ import annotations

import difflib
import importlib.util
import json
import os
import shlex
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import ansible_runner

from infra import remedy
from infra.errors import MaiaError
from infra.site import REPO
from infra.ssh import Server

ROLES = REPO / "roles"
Say = Callable[[str], None]


Kind = Literal["machine", "container", "image"]
"""A machine has a kernel of its own and services that run; a container shares its kernel with other hosts; an image is
a mounted root file system in which nothing runs."""


def role(
    name: str, variables: Mapping[str, Any], say: Say, *, server: Server | None = None, check: bool = False
) -> int:
    """Carry out one role here, or on ``server``; see `roles`.

    Returns:
        How many of its tasks changed something, or would.
    """
    return len(roles({name: variables}, say, on=server, check=check))


def roles(
    wanted: Mapping[str, Mapping[str, Any]],
    say: Say,
    *,
    on: Server | Path | None = None,
    kind: Kind = "machine",
    check: bool = False,
    entry: str = "main",
    show: Say | None = None,
) -> list[str]:
    """Carry out roles, in their order and in one go.

    Args:
        wanted: role to its variables; never a secret.
        on: a server, or the folder of a mounted root file system; this machine by default.
        kind: what they work on; they read it as ``maia_host``.
        check: only look what would change.
        entry: the file of tasks in each role: ``main``, or ``remove``.
        show: told what each change of a file consists of.

    Returns:
        The tasks that changed something, or would, as ``role : task``.

    Raises:
        MaiaError: a task failed; says which, and what it said.
    """
    failed: list[tuple[str, str]] = []
    changed: list[str] = []

    def hear(event: dict[str, Any]) -> bool:
        data = event.get("event_data", {})
        role, task = data.get("role", ""), data.get("task", "")
        if event["event"] == "playbook_on_task_start":
            say(f"{role} : {task}" if on and role else task)
        elif event["event"] in ("runner_on_failed", "runner_on_unreachable") and not data.get("ignore_errors"):
            failed.append((role, f"{task}: {_said(data.get('res', {}))}"))
        elif event["event"] == "runner_on_ok" and data.get("res", {}).get("changed"):
            changed.append(f"{role} : {task}")
            if show:
                _show(data["res"], show)
        return False  # nothing of it is kept

    host = on.name if on else "localhost"
    tasks = [
        {
            "name": f"Carry out {name}",
            "ansible.builtin.include_role": {"name": name, "tasks_from": entry},
            "vars": dict(variables),
        }
        for name, variables in wanted.items()
    ]
    play = [{"name": "Converge", "hosts": host, "gather_facts": False, "tasks": tasks}]
    with tempfile.TemporaryDirectory(prefix="maia-converge-") as private:
        result = ansible_runner.run(
            private_data_dir=private,
            playbook=play,
            inventory={"all": {"hosts": {host: _reached(on)}}},
            roles_path=str(ROLES),
            extravars={"maia_host": kind},
            cmdline=" ".join([*(["--check"] if check else []), *(["--diff"] if show else [])]) or None,
            envvars={
                "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}",
                "ANSIBLE_CONNECTION_PLUGINS": str(Path(__file__).parent / "connection"),
                "ANSIBLE_LOCAL_TEMP": f"{private}/tmp",
                "ANSIBLE_HOME": f"{private}/home",
                "ANSIBLE_NOCOLOR": "1",
                "ANSIBLE_PIPELINING": "1",
                "ANSIBLE_TIMEOUT": "60",  # a busy server takes its time before sudo answers
                "ANSIBLE_SSH_ARGS": "-oControlMaster=auto -oControlPersist=5",
                "ANSIBLE_SSH_CONTROL_PATH_DIR": f"{private}/cp",  # else another run's connection, and its key, is used
                **(_looking() if check and isinstance(on, Server) else {}),
            },
            event_handler=hear,
            quiet=True,
            suppress_env_files=True,
        )
        if result.status != "successful":
            role, reason = failed[0] if failed else ("", _last(Path(private), result.rc))
            where = f"role {role or ', '.join(wanted)}" + (f" on {host}" if on else "")
            raise MaiaError(reason, where=where, mend=remedy.of(reason))
        return changed


def _looking() -> dict[str, str]:
    """For a server that is only looked at: all tasks by one interpreter there, instead of a new one for each.

    What changes a server goes Ansible's own way, which is tried most: it may restart what a lasting interpreter needs.
    """
    spec = importlib.util.find_spec("ansible_mitogen")
    assert spec, "it is locked"
    assert spec.submodule_search_locations
    (folder,) = spec.submodule_search_locations
    return {"ANSIBLE_STRATEGY_PLUGINS": f"{folder}/plugins/strategy", "ANSIBLE_STRATEGY": "mitogen_linear"}


def _reached(on: Server | Path | None) -> dict[str, Any]:
    if isinstance(on, Server):
        return _over(on)
    if on:
        return {
            "ansible_connection": "maia_chroot",
            "maia_root": str(on),
            "ansible_python_interpreter": "/usr/bin/python3",
            "ansible_remote_tmp": "~root/.ansible",
        }
    return _here()


def _here() -> dict[str, Any]:
    """The system's own Python, which has python3-apt where there is one."""
    system = Path("/usr/bin/python3")
    return {
        "ansible_connection": "local",
        "ansible_python_interpreter": str(system) if system.exists() else sys.executable,
    }


def _over(server: Server) -> dict[str, Any]:
    return {
        "ansible_connection": "ssh",
        "ansible_host": server.address,
        "ansible_port": server.port,
        "ansible_user": server.user,
        "ansible_ssh_common_args": shlex.join(server.options),
        "ansible_become": server.user != "root",
        "ansible_python_interpreter": "/usr/bin/python3",
    }


def _show(result: Mapping[str, Any], show: Say) -> None:
    """What ``--diff`` says of one task, as lines of a unified difference."""
    found = result.get("diff") or []
    for each in [found] if isinstance(found, dict) else found:
        before, after = (str(each.get(key) or "").splitlines() for key in ("before", "after"))
        name = str(each.get("after_header") or each.get("before_header") or "")
        prepared = str(each.get("prepared") or "").splitlines()
        for line in prepared or difflib.unified_diff(before, after, name, name, n=1, lineterm=""):
            show(line)


def _said(result: Mapping[str, Any]) -> str:
    text = (
        result.get("stderr")
        or result.get("module_stderr")  # of a module that ended without an answer
        or result.get("msg")
        or json.dumps(result, default=str)
    )
    return " ".join(str(text).split())[-300:]


def _last(private: Path, code: int) -> str:
    said = "".join(stdout.read_text(errors="replace") for stdout in private.glob("artifacts/*/stdout"))
    return " ".join(said.split())[-300:] or f"Ansible ended with exit code {code} and without a word"
