"""Roles carried out by ansible-runner, on this machine or on a server, with its events as progress."""

from __future__ import annotations

import json
import os
import shlex
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ansible_runner

from infra.errors import MaiaError
from infra.site import REPO
from infra.ssh import Server

ROLES = REPO / "roles"


def role(
    name: str,
    variables: Mapping[str, Any],
    say: Callable[[str], None],
    *,
    server: Server | None = None,
    check: bool = False,
) -> int:
    """Carry out ``roles/<name>`` here, or on ``server``.

    Args:
        variables: the role's; never a secret.
        check: only look what would change.

    Returns:
        How many of its tasks changed something, or would.

    Raises:
        MaiaError: a task failed; says which, and what it said.
    """
    failed: list[str] = []
    changed: dict[str, int] = {}

    def hear(event: dict[str, Any]) -> bool:
        data = event.get("event_data", {})
        task = data.get("task", "")
        if event["event"] == "playbook_on_task_start":
            say(task)
        elif event["event"] in ("runner_on_failed", "runner_on_unreachable") and not data.get("ignore_errors"):
            failed.append(f"{task}: {_said(data.get('res', {}))}")
        elif event["event"] == "playbook_on_stats":
            changed.update(data["changed"])
        return False  # nothing of it is kept

    host = server.name if server else "localhost"
    play = [{"name": name, "hosts": host, "gather_facts": False, "roles": [name]}]
    with tempfile.TemporaryDirectory(prefix="maia-converge-") as private:
        result = ansible_runner.run(
            private_data_dir=private,
            playbook=play,
            inventory={"all": {"hosts": {host: _reached(server) if server else _here()}}},
            roles_path=str(ROLES),
            extravars=dict(variables),
            cmdline="--check" if check else None,
            envvars={
                "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}",
                "ANSIBLE_LOCAL_TEMP": f"{private}/tmp",
                "ANSIBLE_HOME": f"{private}/home",
                "ANSIBLE_NOCOLOR": "1",
                "ANSIBLE_PIPELINING": "1",
                "ANSIBLE_SSH_ARGS": "-oControlMaster=auto -oControlPersist=5",
                "ANSIBLE_SSH_CONTROL_PATH_DIR": f"{private}/cp",  # else another run's connection, and its key, is used
            },
            event_handler=hear,
            quiet=True,
            suppress_env_files=True,
        )
        if result.status != "successful":
            reason = failed[0] if failed else _last(Path(private))
            where = f"role {name} on {host}" if server else f"role {name}"
            raise MaiaError(reason, where=where, mend="mend it and run it again")
        return changed.get(host, 0)


def _here() -> dict[str, Any]:
    """The system's own Python, which has python3-apt where there is one."""
    system = Path("/usr/bin/python3")
    return {
        "ansible_connection": "local",
        "ansible_python_interpreter": str(system) if system.exists() else sys.executable,
    }


def _reached(server: Server) -> dict[str, Any]:
    return {
        "ansible_connection": "ssh",
        "ansible_host": server.address,
        "ansible_port": server.port,
        "ansible_user": server.user,
        "ansible_ssh_common_args": shlex.join(server.options),
        "ansible_become": server.user != "root",
        "ansible_python_interpreter": "/usr/bin/python3",
    }


def _said(result: Mapping[str, Any]) -> str:
    text = result.get("stderr") or result.get("msg") or json.dumps(result, default=str)
    return " ".join(str(text).split())[-300:]


def _last(private: Path) -> str:
    for stdout in private.glob("artifacts/*/stdout"):
        return " ".join(stdout.read_text(errors="replace").split())[-300:]
    return "Ansible ended without a word"
