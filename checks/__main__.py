"""The process in which the checks run: a ``Spec`` on standard input, lines of progress and then the rows on output."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path

import pytest

from checks.plugin import Plugin, Spec

HERE = Path(__file__).parent


def main() -> int:
    spec: Spec = pickle.load(sys.stdin.buffer)
    # What pytest and the libraries print is no part of the answer.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)

    def send(kind: str, value: object) -> None:
        pickle.dump((kind, value), answers)
        answers.flush()

    plugin = Plugin(spec, lambda line: send("say", line))
    folder = spec.site.evidence(spec.plan.stack)
    junit = folder / ".junit.xml.partial"
    arguments = ["-c", str(HERE / "pytest.ini"), "--rootdir", str(HERE), "--import-mode=importlib"]
    arguments += ["-p", "no:cacheprovider", "-p", "no:terminal", "-p", "no:xdist", "-p", "no:testinfra", "-s"]
    everything = not any((spec.keyword, spec.control, spec.host, spec.level))
    if everything:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        arguments.append(f"--junitxml={junit}")
    if spec.keyword is not None:
        arguments += ["-k", spec.keyword]
    code = pytest.main([*arguments, str(HERE)], plugins=[plugin])
    if code in (pytest.ExitCode.INTERNAL_ERROR, pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.INTERRUPTED):
        return int(code)
    if everything:
        plugin.write_report()
        os.replace(junit, folder / "junit.xml")
    send("rows", plugin.rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
