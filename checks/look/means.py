"""How facts are had: a command, a file, the meaning lines of files."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path("/")
CLEAN = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/root"}
COMMANDS: list[dict[str, Any]] = []
"""What was run, and what it answered."""
Ask = dict[str, list[str]]
"""``sections`` to look at, and by section what in it."""


def run(*words: str) -> str:
    """What a command says on standard output; nothing where there is no such command."""
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, errors="replace", env=CLEAN
        )
        code, out, err = done.returncode, done.stdout, done.stderr
    except (OSError, subprocess.TimeoutExpired) as error:
        code, out, err = -1, "", str(error)
    COMMANDS.append({"command": shlex.join(words), "code": code, "answer": out or err})
    return out


def read(path: str) -> str:
    """The text of a file; nothing where there is none."""
    try:
        return (ROOT / path.lstrip("/")).read_text(errors="replace")
    except OSError:
        return ""


def lines(*patterns: str) -> Iterator[str]:
    """Lines that mean something, of all files that match, in the order in which programs read them."""
    for pattern in patterns:
        for path in sorted(ROOT.glob(pattern.lstrip("/"))):
            for line in read(str(path)).replace("\\\n", " ").splitlines():
                if (text := line.split(" #")[0].strip()) and not text.startswith("#"):
                    yield text


def settings(*patterns: str) -> dict[str, str]:
    """``name = value`` or ``name value``, the last of a name; a name alone is ``yes``."""
    found = {}
    for line in lines(*patterns):
        name, value = line.partition("=")[::2] if "=" in line else (*line.split(None, 1), "")[:2]
        found[name.strip()] = value.strip() or "yes"
    return found
