"""Roles carried out on this machine by ansible-runner, with its events as progress."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ansible_runner

from infra.errors import MaiaError
from infra.site import REPO

ROLES = REPO / "roles"


def role(name: str, variables: Mapping[str, Any], say: Callable[[str], None], *, check: bool = False) -> int:
    """Carry out ``roles/<name>`` here.

    Args:
        variables: the role's; never a secret.
        check: only look what would change.

    Returns:
        How many of its tasks changed something, or would.

    Raises:
        MaiaError: a task failed; says which, and what it said.
    """
    failed: list[str] = []

    def hear(event: dict[str, Any]) -> bool:
        data = event.get("event_data", {})
        task = data.get("task", "")
        if event["event"] == "playbook_on_task_start":
            say(task)
        elif event["event"] == "runner_on_failed" and not data.get("ignore_errors"):
            failed.append(f"{task}: {_said(data.get('res', {}))}")
        return False  # nothing of it is kept

    play = [{"name": name, "hosts": "localhost", "connection": "local", "gather_facts": False, "roles": [name]}]
    with tempfile.TemporaryDirectory(prefix="maia-converge-") as private:
        result = ansible_runner.run(
            private_data_dir=private,
            playbook=play,
            inventory={"all": {"hosts": {"localhost": {"ansible_python_interpreter": _interpreter()}}}},
            roles_path=str(ROLES),
            extravars=dict(variables),
            cmdline="--check" if check else None,
            envvars={
                "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}",
                "ANSIBLE_LOCAL_TEMP": f"{private}/tmp",
                "ANSIBLE_HOME": f"{private}/home",
                "ANSIBLE_NOCOLOR": "1",
            },
            event_handler=hear,
            quiet=True,
            suppress_env_files=True,
        )
        if result.status != "successful":
            reason = failed[0] if failed else _last(Path(private))
            raise MaiaError(reason, where=f"role {name}", mend="mend it and run it again")
        changed: int = (result.stats or {}).get("changed", {}).get("localhost", 0)
        return changed


def _interpreter() -> str:
    """The system's own Python, which has python3-apt where there is one."""
    return "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable


def _said(result: Mapping[str, Any]) -> str:
    text = result.get("stderr") or result.get("msg") or json.dumps(result, default=str)
    return " ".join(str(text).split())[-300:]


def _last(private: Path) -> str:
    for stdout in private.glob("artifacts/*/stdout"):
        return " ".join(stdout.read_text(errors="replace").split())[-300:]
    return "Ansible ended without a word"
