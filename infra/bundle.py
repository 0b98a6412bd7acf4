"""What somebody who helps needs to see of a stack, without any secret, in one archive."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import platform
import sys
import tarfile
import time
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from urllib.parse import quote

from infra import doctor, health
from infra.errors import MaiaError
from infra.stack import Stack
from infra.toolchain import tools

LOG_LINES = 2000
HIDDEN = "[redacted]"
SHORTEST = 8
"""Characters; a shorter value is in every other word, and no secret of ours is that short."""


def gather(stack: Stack) -> Iterator[tuple[str, str]]:
    """Name and text of every file; what cannot be had says why."""
    yield "versions.json", json.dumps(_versions(), indent=2)
    yield "stack.yaml", stack.file.read_text()
    yield "doctor.txt", _doctor(stack)
    try:
        yield "plan.json", stack.plan.json()
        yield from _containers(stack)
    except MaiaError as error:
        yield "error.txt", str(error)
    evidence = stack.site.evidence(stack.name)
    for path in sorted(evidence.rglob("*")) if evidence.is_dir() else ():
        if path.suffix in (".json", ".xml") and path.is_file():
            yield f"evidence/{path.relative_to(evidence)}", path.read_text(errors="replace")


def redact(text: str, secrets: Iterable[str]) -> str:
    """``text`` without any of the values, plain, URL-encoded or escaped for JSON."""
    forms = {
        form
        for value in secrets
        for line in (value, *value.splitlines())
        for form in (line, quote(line), quote(line, safe=""), json.dumps(line)[1:-1])
        if len(form) >= SHORTEST and not form.startswith("-----")
    }
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, HIDDEN)
    return text


def write(target: Path, folder: str, files: Iterable[tuple[str, str]], secrets: Iterable[str]) -> None:
    """The archive, readable for its owner only, each file redacted."""
    values = list(secrets)
    partial = target.with_name(f".{target.name}.partial")
    partial.unlink(missing_ok=True)
    with (
        os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as raw,
        tarfile.open(fileobj=raw, mode="w:gz") as archive,
    ):
        for name, text in files:
            data = redact(text, values).encode()
            entry = tarfile.TarInfo(f"{folder}/{name}")
            entry.size, entry.mode, entry.mtime = len(data), 0o600, int(time.time())
            archive.addfile(entry, io.BytesIO(data))
    os.replace(partial, target)


def _versions() -> Mapping[str, object]:
    return {
        "python": sys.version,
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", ""),
        "kernel": platform.release(),
        "engine": tools.PULUMI_VERSION,
        "packages": {found.name: found.version for found in metadata.distributions()},
    }


def _doctor(stack: Stack) -> str:
    return "".join(f"{what}\n    → {mend}\n" for what, mend in doctor.examine(stack)) or "nothing is wrong\n"


def _containers(stack: Stack) -> Iterator[tuple[str, str]]:
    client = health.client(stack.place)
    yield "docker.json", json.dumps(client.version(), indent=2)
    states = health.states(stack.plan, client)
    yield "status.json", json.dumps([dataclasses.asdict(state) for state in states], indent=2)
    for container in stack.plan.containers:
        if running := health.find(client, container.name):
            yield f"containers/{container.part}.json", json.dumps(running.attrs, indent=2)
            yield f"logs/{container.part}.log", running.logs(tail=LOG_LINES, timestamps=True).decode(errors="replace")
