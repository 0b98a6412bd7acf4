"""The official client, unchanged, against the appliance: each journey is a function in ``journeys/``, run by Node."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tests.system.auth.service import Service

HERE = Path(__file__).parent
JOURNEYS = [
    (file.stem, name)
    for file in sorted((HERE / "journeys").glob("*.js"))
    for name in re.findall(r"^export async function (\w+)", file.read_text(), re.MULTILINE)
]
LIMIT = 120
"""Seconds for one journey."""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The journeys with the client that ``package-lock.json`` names."""
    folder = tmp_path_factory.mktemp("client")
    shutil.copytree(
        HERE, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.py", "__pycache__", "node_modules")
    )
    subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=folder, check=True, timeout=300)
    return folder


@pytest.mark.parametrize(("file", "name"), JOURNEYS, ids=[f"{file}-{name}" for file, name in JOURNEYS])
def test_the_official_client(file: str, name: str, client: Path, service: Service) -> None:
    settings = {"url": service.origin, "site": service.origin, "anon": service.anon, "service": service.admin}
    environment = {"PATH": "/usr/bin:/bin", "JOURNEY": json.dumps(settings)}
    if service.ca:
        environment["NODE_EXTRA_CA_CERTS"] = service.ca
    with subprocess.Popen(
        ["node", "--no-deprecation", "run.js", file, name],
        cwd=client,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as node:
        try:
            told = _accompany(node, service)
            assert node.wait(LIMIT) == 0, "\n".join(told)
        finally:
            node.kill()
    assert told, "it did something"


def _accompany(node: subprocess.Popen[str], service: Service) -> list[str]:
    """What the journey said; what it asked for was answered."""
    assert node.stdin and node.stdout
    told = []
    for line in node.stdout:
        said = _read(line)
        if "ask" in said:
            node.stdin.write(json.dumps(_answer(said, service)) + "\n")
            node.stdin.flush()
        elif "failed" in said:
            told += [f"failed: {said['failed']}", said["why"], said["where"]]
        elif "step" in said:
            told.append(f"{said['milliseconds']:5} ms  {said['step']}")
        else:
            told.append(line.rstrip())
    return told


def _read(line: str) -> dict[str, Any]:
    try:
        said = json.loads(line)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _answer(said: dict[str, Any], service: Service) -> Any:
    if said["ask"] == "person":
        return asdict(service.person(password=said["password"]))
    if said["ask"] == "count":
        return service.count(said["recipient"])
    mail = service.mail(said["recipient"], said["number"])
    return {"kind": mail.kind, "subject": mail.subject, "link": mail.link, "code": mail.code}
