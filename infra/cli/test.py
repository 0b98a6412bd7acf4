"""Run the tests: linters, types and import rules first, then every layer in one pytest run."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

LAYERS = ("unit", "app", "system", "security", "chaos")
BARE = ("unit",)
"""Layers that need nothing of the machine."""
SHARED = ("all", "system")
"""Runs that are long enough for two workers: most of what they do is waiting for a stack."""
SLOWEST_FIRST = ("system", "security", "chaos", "app", "unit")
"""For two workers, so that files of a second each are what is left to share out at the end, not one of minutes."""
PROGRAMS = {"chromium": "chromium", "npm": "npm", "ssh": "openssh-client"}
"""Program to Debian package: what the other layers use beside Docker."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("layer", nargs="?", choices=(*LAYERS, "all"), default="all")
    parser.add_argument("--full", action="store_true", help="the long ones too")
    parser.add_argument("--long", action="store_true", help="only the long ones; no linters")
    parser.add_argument("--one", action="store_true", help="one worker; whole runs have two, with stacks of their own")
    parser.add_argument("-k", metavar="EXPRESSION", dest="keyword", help="only tests that match; no linters")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write a page on the run, as docs/test-report.md")
    parser.add_argument("-x", action="store_true", dest="first", help="stop at the first failure")


def run(args: argparse.Namespace) -> int:
    from infra.progress import Progress
    from infra.site import REPO

    if args.layer not in BARE:
        _prepare()
    failures = {}
    if args.keyword is None and not args.long:
        with Progress() as progress:
            for name, command in _static(REPO).items():
                with progress.step(name):
                    done = subprocess.run(command, cwd=REPO, env=_environment(), text=True, capture_output=True)
                if done.returncode:
                    failures[name] = done.stdout + done.stderr
    for name, said in failures.items():
        print(f"---- {name}\n{said.rstrip()}", flush=True)
    shared = args.layer in SHARED and args.keyword is None and not args.one and (os.cpu_count() or 1) > 1
    folders = [
        f"tests/{layer}"
        for layer in (SLOWEST_FIRST if shared else LAYERS)
        if args.layer in (layer, "all") and _has_tests(REPO / "tests" / layer)
    ]
    tests = [sys.executable, "-m", "pytest", *(folders or ["tests"])]
    tests += ["--full"] if args.full or args.long else []
    tests += ["-m", "long"] if args.long else []
    tests += ["--numprocesses=2", "--dist=loadfile", "--no-loadscope-reorder"] if shared else []
    tests += ["-k", args.keyword] if args.keyword else []
    tests += ["--report", str(args.report.absolute())] if args.report else []
    tests += ["-x"] if args.first else []
    code = subprocess.run(tests, cwd=REPO, env=_environment()).returncode
    if failures:
        print(f"maia: not clean: {', '.join(failures)} (see above)", file=sys.stderr)
    return code or bool(failures)


def _prepare() -> None:
    """Have Docker running, and the programs that tests of a whole stack use."""
    from infra import converge, preflight
    from infra.images import build
    from infra.progress import Progress

    absent = [package for program, package in PROGRAMS.items() if not shutil.which(program)]
    if absent or preflight.missing():
        with Progress() as progress, progress.step("docker") as say:
            converge.role("docker", {"docker_builder_packages": [*build.requirements(), *absent]}, say)


def _static(repo: Path) -> dict[str, list[str]]:
    """Name to command of everything that looks at the code without running it."""
    python = [sys.executable, "-m"]
    checks = {
        "ruff": [*python, "ruff", "check"],
        "format": [*python, "ruff", "format", "--check"],
        "mypy": [*python, "mypy"],
        "imports": [_tool("lint-imports"), "--no-cache"],
        "shellcheck": [_tool("shellcheck"), *_shell_scripts(repo)],
    }
    if (repo / "roles").is_dir():
        checks["ansible-lint"] = [_tool("ansible-lint"), "--offline", "-q", "--profile", "production", "roles"]
    return checks


def _tool(name: str) -> str:
    """A program of our environment."""
    own = Path(sys.executable).parent / name
    return str(own) if own.exists() else shutil.which(name) or name


def _shell_scripts(repo: Path) -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=repo, text=True, capture_output=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    return [name for name in listed if _is_shell(repo / name)]


def _is_shell(path: Path) -> bool:
    if not path.is_file() or path.is_symlink() or path.suffix == ".j2":  # a unit test checks what those render to
        return False
    with path.open("rb") as file:
        first = file.readline(64)
    return first.startswith((b"#!/bin/sh", b"#!/bin/bash", b"#!/usr/bin/env bash"))


def _has_tests(folder: Path) -> bool:
    return any(folder.rglob("test_*.py"))


def _environment() -> dict[str, str]:
    """Ours, with the environment's programs first on PATH; caches stay out of the clone."""
    from infra.site import cache

    return os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}",
        "RUFF_CACHE_DIR": str(cache() / "ruff"),
        "MYPY_CACHE_DIR": str(cache() / "mypy"),
        "PYTEST_ADDOPTS": f"{os.environ.get('PYTEST_ADDOPTS', '')} -o cache_dir={cache() / 'pytest'}".strip(),
    }
